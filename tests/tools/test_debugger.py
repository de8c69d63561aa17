"""`breakpoint()` in a real terminal, and `make debug` with an editor's real protocol."""

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT, wait_until
from tests.kit import paused_feature
from tests.kit.debug_adapter import Editor
from tests.kit.production_process import production_environment
from tests.kit.repository import copy_repository, share_environment
from tests.kit.terminal import Terminal
from tools.ports import free_port

LIMIT = 2
"""Seconds that a job may take."""


class Development:
    """`make dev` in a terminal, with routes and a job that stop at breakpoints."""

    def __init__(
        self, folder: Path, *ports: int, is_stopping: bool = True, has_terminal: bool = True
    ) -> None:
        self.folder, self.port = folder / "a clone", free_port()
        self._is_stopping = is_stopping
        copy_repository(self.folder)
        share_environment(self.folder)
        self.save(1)
        unset = {"REDIS_URL", "DATABASE_URL", "MAKEFLAGS", "MAKELEVEL"}
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        environment = {
            name: f"127.0.0.1:{port}"
            for name, port in zip(("DEBUGPY_SERVER", "DEBUGPY_WORKER"), ports, strict=False)
        }
        command = ["make", "debug" if ports else "dev", "RUNTIME=native", f"API_PORT={self.port}"]
        limits = {"JOB_TIMEOUT": str(LIMIT), "JOB_RETRIES": "0"}
        if not has_terminal:
            command = ["sh", "-c", f"{shlex.join(command)} < /dev/null"]
        self.terminal = Terminal(command, self.folder, inherited | limits | environment)
        self.debug_ports = ports
        self._asking = ThreadPoolExecutor(10)
        self.terminal.wait_for("\nReady.\n", seconds=60)

    def save(self, version: int) -> None:
        paused_feature.save(self.folder, version, is_stopping=self._is_stopping)

    def fetch(self, path: str, method: str = "GET") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path)
        response = connection.getresponse()
        assert response.status == 200, response.read()
        return json.load(response)

    def ask(self, path: str) -> "Future[Any]":
        """Fetch in the background."""
        return self._asking.submit(self.fetch, path)

    def job(self, number: int) -> str:
        """Enqueue a job."""
        return str(self.fetch(f"/probe/jobs/{number}", "POST"))

    def result(self, job_id: str) -> Any:
        return self.fetch(f"/probe/jobs/{job_id}")

    def codes(self) -> list[str]:
        """The code of the API and of the newest worker."""
        version = self.fetch("/version")
        workers = sorted(version["workers"], key=lambda worker: str(worker["loaded_at"]))
        return [version["code"], workers[-1]["code"]]


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    development = Development(tmp_path_factory.mktemp("dev"))
    yield development
    development.terminal.close()


def test_the_prompt_of_a_route_can_be_used_and_other_requests_are_answered(development: Development) -> None:
    terminal = development.terminal
    assert terminal.is_colored
    assert "Logging error" not in terminal.screen
    before = len(terminal.screen)
    answer = development.ask("/probe/route")
    terminal.wait_for("(Pdb) ", before)
    assert development.fetch("/health/live")
    before = terminal.type("p value * 2\n")
    terminal.wait_for("p value * 2\n82\n(Pdb) ", before)
    before = terminal.type(
        "p forgotten\x03p value\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D_\x7f\n"
    )  # Ctrl-C, and arrow keys
    terminal.wait_for("\n41\n(Pdb) ", before)
    before = terminal.type("\x1b[A\n")  # the line before
    terminal.wait_for("\n41\n(Pdb) ", before)
    assert not answer.done()
    terminal.type("c\n")
    assert answer.result(20) == 42
    wait_until(terminal.is_as_before, what="the terminal's own settings")


def test_ctrl_d_and_c_go_on_from_pdb_in_a_coroutine_and_q_ends_it(development: Development) -> None:
    for keys, code in (("\x04", 200), ("c\n", 200), ("q\n", 500)):
        before = len(development.terminal.screen)
        answer = development.ask("/probe/coroutine")
        development.terminal.wait_for("(Pdb) ", before)
        development.terminal.type(keys)
        if code == 200:
            assert answer.result(20) == 51
        else:
            with pytest.raises(AssertionError, match="BdbQuit"):
                answer.result(20)


def test_two_take_turns_and_no_limit_counts_and_a_save_in_the_pause_is_served_by_new_code(
    development: Development,
) -> None:
    terminal, before = development.terminal, len(development.terminal.screen)
    old = development.codes()[0]
    started = time.monotonic()
    job = development.job(10)
    terminal.wait_for("(Pdb) ", before)
    answer = development.ask("/probe/route")
    development.save(2)
    wait_until(lambda: old not in development.codes(), 60, "the new code")
    # Longer than the job may take, and than a hand-over waits for a request.
    wait_until(lambda: time.monotonic() - started > 2 * LIMIT + 2)
    assert terminal.screen[before:].count("(Pdb) ") == 1
    terminal.wait_for("(Pdb) ", before)
    before = terminal.type("p result\n")
    terminal.wait_for("\n11\n(Pdb) ", before)
    before = terminal.type("c\n")
    terminal.wait_for("(Pdb) ", before)
    assert not answer.done()
    terminal.type("c\n")
    assert answer.result(20) == 42, "the old code"
    wait_until(lambda: development.result(job) == 11, what="the job's result")
    terminal.wait_for("Finished server process", before)
    before = len(terminal.screen)
    answer = development.ask("/probe/route")
    terminal.wait_for("(Pdb) ", before)
    terminal.type("c\n")
    assert answer.result(20) == 43


def test_a_breakpoint_in_code_that_is_imported_is_skipped(development: Development) -> None:
    before = len(development.terminal.screen)
    path = development.folder / "src" / "probe" / "__init__.py"
    path.write_text("breakpoint()\n")
    development.terminal.wait_for("is skipped: the code is still being imported", before)
    path.write_text("")


def test_ctrl_c_stops_all_also_when_one_is_paused(development: Development) -> None:
    terminal, before = development.terminal, len(development.terminal.screen)
    answer = development.ask("/probe/route")
    terminal.wait_for("(Pdb) ", before)
    runner = next(
        each for each in psutil.Process(terminal.process.pid).children() if "tools.native" in each.cmdline()
    )
    runner.send_signal(signal.SIGINT)
    terminal.wait_for("Stopping after SIGINT", before)
    terminal.type("c\n")
    assert answer.result(20) in (42, 43)
    terminal.process.wait(30)
    assert terminal.is_as_before()


def test_without_a_terminal_a_breakpoint_is_skipped_in_routes_and_jobs(tmp_path: Path) -> None:
    development = Development(tmp_path, has_terminal=False)
    try:
        assert development.fetch("/probe/route") == 42
        job = development.job(10)
        wait_until(lambda: development.result(job) == 11, what="the job's result")
        output = development.terminal.screen
        for name in ("routes", "jobs"):
            place = paused_feature.line(development.folder, name, "breakpoint()")
            assert f"breakpoint() at {place[0]}:{place[1]} is skipped: no terminal is attached" in output
        assert "Traceback" not in output
    finally:
        development.terminal.close()


@pytest.fixture(scope="module")
def debugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    folder = tmp_path_factory.mktemp("debug")
    development = Development(folder, free_port(), free_port(), is_stopping=False)
    yield development
    development.terminal.close()


def test_an_editor_stops_in_a_route_also_in_the_code_of_a_save_in_the_pause(debugged: Development) -> None:
    editor = Editor(debugged.debug_ports[0], *paused_feature.line(debugged.folder, "routes", "return value"))
    for version in (1, 2):
        editor.wait_for_breakpoint(version)
        stop, answer = editor.stop_request(lambda: debugged.ask("/probe/route"))
        assert stop.value("value") == "41"
        started = time.monotonic()
        debugged.save(version + 1)
        debugged.terminal.wait_for(
            "Finished server process" if version == 2 else "Application startup complete"
        )
        wait_until(lambda: time.monotonic() > started + 4, what="longer than a hand-over waits")  # noqa: B023
        assert not answer.done()
        stop.go_on()
        assert answer.result(20) == 41 + version
    editor.close()
    assert debugged.fetch("/probe/route") in (43, 44)


def test_an_editor_stops_in_jobs_which_then_have_no_time_limit_also_after_a_save(
    debugged: Development,
) -> None:
    editor = Editor(debugged.debug_ports[1], *paused_feature.line(debugged.folder, "jobs", "return result"))
    editor.wait_for_breakpoint()
    for version, breakpoints in ((11, 2), (12, 4)):  # also one for the first job
        old = debugged.codes()
        debugged.save(version)
        wait_until(lambda: debugged.codes()[1] not in old, 30, "the new code")  # noqa: B023
        editor.wait_for_breakpoint(breakpoints)
        job = debugged.job(10)
        stop = editor.wait_for_stop()
        assert stop.value("result") == str(10 + version)
        started = time.monotonic()
        wait_until(lambda: time.monotonic() > started + 2 * LIMIT)  # noqa: B023
        stop.go_on()
        wait_until(lambda: debugged.result(job) == 10 + version, what="the job's result")  # noqa: B023
    editor.close()
    job = debugged.job(20)
    wait_until(lambda: debugged.result(job) == 32, 10, "a job without an editor")


def test_an_editor_that_does_not_follow_a_job_does_not_stop_it_for_good(debugged: Development) -> None:
    place = paused_feature.line(debugged.folder, "jobs", "return result")
    editor = Editor(debugged.debug_ports[1], *place, is_following=False)
    editor.wait_for_breakpoint()
    job = debugged.job(30)
    wait_until(lambda: debugged.result(job), 20, "the job's result")
    editor.close()


def test_debuggers_listen_on_this_machine_only(debugged: Development) -> None:
    processes = {each.pid for each in psutil.Process(debugged.terminal.process.pid).children(recursive=True)}
    connections = [each for each in psutil.net_connections("inet") if each.pid in processes]
    listening = [each.laddr for each in connections if each.status == psutil.CONN_LISTEN]
    assert set(debugged.debug_ports) <= {address.port for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_production_has_neither_a_hook_nor_debugpy(redis_url: str) -> None:
    program = """
import sys
import src.main
from src.kit.queue import startup
startup.load_code()
startup.make_worker()
print(sorted({"pdb", "debugpy", "src.reload.debugger"} & sys.modules.keys()), sys.breakpointhook.__name__)
"""
    places = dict.fromkeys(("DEBUGGER", "DEBUGPY_SERVER", "DEBUGPY_WORKER"), "127.0.0.1:5678")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
        env=production_environment(redis_url, "sqlite://") | places,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] breakpointhook\n"
