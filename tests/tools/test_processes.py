"""The process manager behind `make dev` without Docker: real processes, real signals, small programs."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, wait_until
from tests.kit.processes import start

PROGRAM = """
import os, sys
from pathlib import Path
from tools.processes import Process, ProcessManager

folder = Path(sys.argv[1])
# Both have a child that they leave behind; the app stops a moment after it was told to.
store = 'trap "echo store >>stopped; exit" TERM; echo store is up; sleep 300 & wait'
app = 'trap "sleep 0.2; echo app >>stopped; exit" TERM; sleep 300 & echo app is up; wait; sleep 300'
processes = [
    Process("store", ["sh", "-c", store], last=True),
    Process("prepare", ["true"], one_shot=True),
    Process("app", ["sh", "-c", app]),
]
sys.exit(ProcessManager(processes, cwd=folder, environment=os.environ, grace=10).run())
"""


class Run:
    """A supervisor that runs two lasting processes."""

    def __init__(self, folder: Path) -> None:
        self._log, self.stopped = folder / "log", folder / "stopped"
        self.process = start([sys.executable, "-c", PROGRAM, str(folder)], self._log, cwd=ROOT)
        wait_until(lambda: "app is up" in self.output and "store is up" in self.output, what="both processes")
        self.supervisor = psutil.Process(self.process.pid)
        self.children = wait_until(self._all_children, what="the processes and their children")

    def _all_children(self) -> list[psutil.Process]:
        found = self.supervisor.children(recursive=True)
        return found if sum(child.name() == "sleep" for child in found) == 2 else []

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text()

    def wait(self) -> int:
        """Wait until it and all that it started have ended, and return its exit code."""
        code = self.process.wait(20)
        assert psutil.wait_procs(self.children, timeout=20)[1] == []
        return code


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path)
    yield run
    for process in [run.supervisor, *run.children]:
        if process.is_running():
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_in_order_and_leaves_nothing_behind(run: Run, number: signal.Signals) -> None:
    run.process.send_signal(number)
    assert run.wait() == 0
    assert f"Stopping after {number.name}" in run.output
    assert run.stopped.read_text().split() == ["app", "store"]


def test_of_one_with_a_log_that_fails_the_last_lines_are_shown(tmp_path: Path) -> None:
    program = PROGRAM.partition("# Both")[0] + (
        "loud = ['sh', '-c', 'for n in $(seq 50); do echo line $n; done; exit ' + sys.argv[2]]\n"
        "quiet = Process('quiet', loud, one_shot=True, log=folder / sys.argv[2])\n"
        "sys.exit(ProcessManager([quiet, Process('app', ['sleep', '1'])], cwd=folder, environment=os.environ,"
        " grace=10).run())"
    )
    for code, shown in (("0", []), ("3", [f"quiet | line {number}" for number in range(31, 51)])):
        command = [sys.executable, "-c", program, str(tmp_path), code]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
        assert [line for line in output.splitlines() if line.startswith("quiet |")] == shown
        assert (tmp_path / code).read_text().endswith("line 50\n")


def test_one_that_ends_ends_all(run: Run) -> None:
    [app] = [child for child in run.supervisor.children() if "app is up" in " ".join(child.cmdline())]
    app.kill()
    assert run.wait() == 1
    assert "app ended by SIGKILL: stopping the others." in run.output


def test_a_killed_supervisor_takes_its_processes_along(run: Run) -> None:
    direct = run.supervisor.children()
    run.process.kill()
    assert psutil.wait_procs(direct, timeout=20)[1] == []
