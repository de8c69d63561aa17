"""A reload of a larger program: what comes before the changed module is not loaded again."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.reload.checkpoints import CHECKPOINTS
from tests.conftest import wait_until
from tests.reload.program import MAIN, Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="checkpoints are for Linux only")

MODULES = 80

ALL = 2 + 3 + 1 + CHECKPOINTS + 1
"""Processes: supervisor and resource tracker; the generation, the checkpoint that forked it and that one's
parent; the fork server, the checkpoints for the next change and their parent."""

MODULE = """
import os
from pkg.registry import ORDER

ORDER.append({number})
print("loading {number}", flush=True)
with open("loaded", "a") as file:
    file.write(f"{number} {{os.getpid()}}\\n")
"""


class LargeProgram(Program):
    """Modules that are imported one after the other, `version` among the last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.save("registry.py", "ORDER = []\n")
        for number in range(MODULES):
            self.save_module(number)
        imports = "".join(f"import pkg.m{number:02}\n" for number in range(MODULES - 5))
        last = "".join(f"import pkg.m{number:02}\n" for number in range(MODULES - 5, MODULES))
        self.save("main.py", imports + MAIN + last + "from pkg.registry import ORDER\n" + SAY_ORDER)

    def save_module(self, number: int, more: str = "") -> None:
        """Write a module, with some more code."""
        self.save(f"m{number:02}.py", MODULE.format(number=number) + more)

    def loaded_by(self, pid: int) -> list[int]:
        """The modules that a process has loaded itself, in order."""
        lines = [line.split() for line in (self.folder / "loaded").read_text().splitlines()]
        return [int(number) for number, by in lines if int(by) == pid]

    def wait_for_checkpoints(self, count: int = CHECKPOINTS) -> None:
        """Wait until those stand that are made after a hand-over."""
        line = f"{count} checkpoints for the next change"
        wait_until(lambda: self.log.rfind(line) > self.log.rfind("at work after"), what=f"{line}: {self.log}")


SAY_ORDER = f"""
if ORDER != list(range({MODULES})):
    raise SystemExit(f"loaded in the order {{ORDER}}")
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[LargeProgram]:
    program = LargeProgram(tmp_path)
    yield program
    program.kill_all()


@pytest.fixture
def running(program: LargeProgram) -> LargeProgram:
    """At work, with checkpoints for the next change."""
    program.start()
    program.wait_for("working", 1)
    program.wait_for_checkpoints()
    return program


def save_version(program: LargeProgram, version: int) -> int:
    program.save("version.py", f"VERSION = {version}\n")
    return program.wait_for("working", version)


def test_what_comes_before_a_change_is_not_loaded_again(running: LargeProgram) -> None:
    loaded = running.loaded_by(save_version(running, 2))
    assert 0 not in loaded
    assert loaded[-5:] == [75, 76, 77, 78, 79], "what comes after it is, in its order"


def test_the_file_that_changed_last_has_a_checkpoint_of_its_own(running: LargeProgram) -> None:
    save_version(running, 2)
    running.wait_for_checkpoints()
    assert running.loaded_by(save_version(running, 3)) == [75, 76, 77, 78, 79]


def test_a_change_of_the_first_module_loads_all_that_follows(running: LargeProgram) -> None:
    running.save_module(0, "import pkg.version\npkg.version.VERSION = 'changed'\n")
    assert running.loaded_by(running.wait_for("working", "changed")) == list(range(MODULES))


def test_changes_in_two_modules_count_from_the_first_of_them(running: LargeProgram) -> None:
    running.save_module(40, "import pkg.version\npkg.version.VERSION += 1\n")
    running.save("version.py", "VERSION = 5\n")
    loaded = running.loaded_by(running.wait_for("working", 6))
    assert loaded[-40:] == list(range(40, MODULES))


def test_the_number_of_processes_stays_the_same(running: LargeProgram) -> None:
    for version in range(2, 8):
        save_version(running, version)
        running.wait_for_checkpoints()
        wait_until(lambda: len(running.processes()) == ALL, what="the others to leave")


def test_what_a_module_prints_is_printed_once_a_generation(running: LargeProgram) -> None:
    save_version(running, 2)
    running.wait_for_checkpoints()
    assert running.log.count("loading 0\n") == 1
    assert running.log.count("loading 79\n") == 2


def test_a_data_file_that_changed_is_read_again(program: LargeProgram) -> None:
    data = program.folder / "data.txt"
    data.write_text("one")
    program.save_module(3, "DATA = open('data.txt').read()\n")
    program.save("version.py", "from pkg.m03 import DATA\nVERSION = DATA + '-1'\n")
    program.start()
    program.wait_for("working", "one-1")
    program.wait_for_checkpoints()
    data.write_text("two")
    program.save("version.py", "from pkg.m03 import DATA\nVERSION = DATA + '-2'\n")
    program.wait_for("working", "two-2")


def test_a_new_file_may_change_what_an_earlier_import_finds(program: LargeProgram) -> None:
    program.save_module(3, "try:\n    from pkg.local import NAME\nexcept ImportError:\n    NAME = 'none'\n")
    program.save("version.py", "from pkg.m03 import NAME\nVERSION = NAME + '-1'\n")
    program.start()
    program.wait_for("working", "none-1")
    program.wait_for_checkpoints()
    program.save("local.py", "NAME = 'local'\n")
    program.wait_for("working", "local-1")


@pytest.mark.parametrize(
    "opened",
    [
        "import socket\nPAIR = socket.socketpair()\n",
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        "import sqlite3\nDATABASE = sqlite3.connect('app.db')\n",
        "import select\nPOLL = select.epoll()\n",
    ],
    ids=["a socket", "a thread", "a database", "an event loop"],
)
def test_what_a_fork_must_not_share_is_never_shared(program: LargeProgram, opened: str) -> None:
    # The first checkpoint of all stands before module 2.
    program.save_module(7, opened)
    program.start()
    program.wait_for("working", 1)
    program.wait_for_checkpoints(1)
    loaded = program.loaded_by(save_version(program, 2))
    assert 7 in loaded
    assert 0 not in loaded


def test_broken_code_after_a_checkpoint_is_told_with_file_and_line(running: LargeProgram) -> None:
    running.save("version.py", "VERSION = 2\nthis is no Python\n")
    running.wait_for_log("the last good code works on: pkg/version.py:2: SyntaxError: invalid syntax")
    save_version(running, 3)


def test_a_generation_from_a_checkpoint_that_is_killed_is_replaced(running: LargeProgram) -> None:
    os.kill(save_version(running, 2), signal.SIGKILL)
    running.wait_for_log("was killed (SIGKILL)")
    wait_until(lambda: len([1 for version, _ in running.said("working") if version == "2"]) == 2)


def test_a_generation_from_a_checkpoint_that_ends_by_itself_is_replaced(running: LargeProgram) -> None:
    running.save(
        "version.py", "import os, threading\nVERSION = 2\nthreading.Timer(0.5, os._exit, [7]).start()\n"
    )
    running.wait_for_log("ended by itself (exit code 7)")


def test_a_checkpoint_that_was_killed_is_not_missed(running: LargeProgram) -> None:
    generation = running.said("working")[-1][1]
    for process in running.processes():
        if process.pid not in (running.pid, generation):
            process.kill()
    save_version(running, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_no_checkpoint_behind(running: LargeProgram, number: signal.Signals) -> None:
    save_version(running, 2)
    running.wait_for_checkpoints()
    running.signal(number)
    assert running.wait() == 0
    assert running.processes() == []


def test_the_supervisors_death_leaves_no_checkpoint_behind(running: LargeProgram) -> None:
    save_version(running, 2)
    running.wait_for_checkpoints()
    running.signal(signal.SIGKILL)
    wait_until(lambda: not running.processes(), what="all processes to end")


def test_an_old_generation_drains_while_checkpoints_come_and_go(running: LargeProgram) -> None:
    busy = running.folder / "busy"
    busy.touch()
    for version in range(2, 6):
        save_version(running, version)
    busy.unlink()
    wait_until(lambda: len(running.said("left")) == 4)
    running.wait_for_checkpoints()
    wait_until(lambda: len(running.processes()) == ALL, what="the others to leave")
