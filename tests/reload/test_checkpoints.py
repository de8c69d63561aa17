"""A reload of a larger program: the modules before the changed one are not loaded again."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from src.reload.checkpoints import CHECKPOINTS
from src.reload.protocol import NAME_PREFIX
from tests.conftest import wait_until
from tests.reload.program import MAIN, Program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has checkpoints")

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

SAY_ORDER = f"""
if ORDER != list(range({MODULES})):
    raise SystemExit(f"loaded in the order {{ORDER}}")
"""


class LargeProgram(Program):
    """Modules that are imported one after the other, `version` among the last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.version = 1
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

    def save_version(self) -> int:
        """Save the next version and wait until it is at work; returns its process."""
        self.version += 1
        return self.change("version.py", f"VERSION = {self.version}\n")

    def change(self, name: str, content: str) -> int:
        """Save a file and wait for the hand-over; returns the new process."""
        hand_overs = self.log.count("at work after")
        self.save(name, content)
        self.wait_for_log("at work after", hand_overs + 1)
        return self.said("working")[-1][1]

    def wait_for_checkpoints(self, count: int = CHECKPOINTS) -> None:
        """Wait until those are there that are made after a hand-over."""
        line = f"{count} checkpoints for the next change"
        wait_until(lambda: self.log.rfind(line) > self.log.rfind("at work after"), what=f"{line}: {self.log}")


@contextmanager
def running(folder: Path) -> Iterator[LargeProgram]:
    """A program at work, with checkpoints for the next change, until the block ends."""
    program = LargeProgram(folder)
    try:
        program.start()
        program.wait_for_log("at work after")
        program.wait_for_checkpoints()
        yield program
    finally:
        program.kill_all()


@pytest.fixture(scope="module")
def shared_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LargeProgram]:
    with running(tmp_path_factory.mktemp("program")) as program:
        yield program


@pytest.fixture
def shared(shared_program: LargeProgram) -> LargeProgram:
    """One for all tests that leave good code at work."""
    shared_program.wait_for_checkpoints()
    return shared_program


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LargeProgram]:
    """One for a test that ends or damages it."""
    with running(tmp_path) as program:
        yield program


@pytest.fixture
def program(tmp_path: Path) -> Iterator[LargeProgram]:
    """One that is not started yet."""
    program = LargeProgram(tmp_path)
    yield program
    program.kill_all()


def test_what_comes_before_a_change_is_not_loaded_again(own: LargeProgram) -> None:
    loaded = own.loaded_by(own.save_version())
    assert 0 not in loaded
    assert loaded[-5:] == [75, 76, 77, 78, 79], "what comes after it is, in its order"


def test_the_file_that_changed_last_has_a_checkpoint_of_its_own(shared: LargeProgram) -> None:
    shared.save_version()

    def loads_from_there() -> bool:  # not at once on a busy machine, where it is made in the background
        shared.wait_for_checkpoints()
        return shared.loaded_by(shared.save_version()) == [75, 76, 77, 78, 79]

    assert any(loads_from_there() for _ in range(5))


def test_a_change_of_the_first_module_loads_all_that_follows(shared: LargeProgram) -> None:
    changed = shared.change("m00.py", MODULE.format(number=0) + f"# before version {shared.version + 1}\n")
    assert shared.loaded_by(changed) == list(range(MODULES))


def test_changes_in_two_modules_count_from_the_first_of_them(shared: LargeProgram) -> None:
    shared.save_module(40, f"# before version {shared.version + 1}\n")
    loaded = shared.loaded_by(shared.save_version())
    assert loaded[-40:] == list(range(40, MODULES))


def test_the_number_of_processes_stays_the_same(shared: LargeProgram) -> None:
    for _ in range(3):
        shared.save_version()
        shared.wait_for_checkpoints()
        wait_until(lambda: len(shared.processes()) == ALL, what="the others to exit")


def test_what_a_module_prints_is_printed_once_a_generation(shared: LargeProgram) -> None:
    def counts() -> list[int]:
        return [shared.log.count(f"loading {number}\n") for number in (0, 79)]

    shared.wait_for_checkpoints()
    first, last = counts()
    shared.save_version()
    shared.wait_for_checkpoints()
    assert counts() == [first, last + 1]


def test_a_rehearsal_has_the_process_name_of_a_generation(program: LargeProgram) -> None:
    # By this name the program knows that its parent is a supervisor, which it must not end.
    name = (
        "import multiprocessing\nopen('names', 'a').write(multiprocessing.current_process().name + '\\n')\n"
    )
    program.save_module(3, name)
    program.start()
    program.wait_for_log("at work after")
    program.wait_for_checkpoints()
    names = (program.folder / "names").read_text().split()
    assert len(names) == 2, "one of a generation and one of a rehearsal"
    assert all(each.startswith(NAME_PREFIX) for each in names), names


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
    # The first checkpoint is before module 2.
    program.save_module(7, opened)
    program.start()
    program.wait_for("working", 1)
    program.wait_for_checkpoints(1)
    loaded = program.loaded_by(program.save_version())
    assert 7 in loaded
    assert 0 not in loaded


def test_broken_code_after_a_checkpoint_is_reported_with_file_and_line(shared: LargeProgram) -> None:
    shared.save("version.py", "VERSION = 2\nthis is a syntax error\n")
    shared.wait_for_log("the last good code keeps working: pkg/version.py:2: SyntaxError: invalid syntax")
    shared.save_version()


def test_a_generation_from_a_checkpoint_that_is_killed_is_replaced(shared: LargeProgram) -> None:
    os.kill(shared.save_version(), signal.SIGKILL)
    shared.wait_for_log("was killed (SIGKILL)")
    version = str(shared.version)
    wait_until(lambda: [said for said, _ in shared.said("working")].count(version) == 2)


def test_a_generation_from_a_checkpoint_that_ends_by_itself_is_replaced(shared: LargeProgram) -> None:
    code = "import os, threading\nVERSION = 'ends'\nthreading.Timer(0.5, os._exit, [7]).start()\n"
    shared.change("version.py", code)
    shared.wait_for_log("ended by itself (exit code 7)")
    shared.save_version()


def test_a_checkpoint_that_was_killed_is_not_missed(own: LargeProgram) -> None:
    generation = own.said("working")[-1][1]
    for process in own.processes():
        if process.pid not in (own.pid, generation):
            process.kill()
    own.save_version()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_leaves_no_checkpoint_behind(own: LargeProgram, number: signal.Signals) -> None:
    own.save_version()
    own.wait_for_checkpoints()
    own.signal(number)
    assert own.wait() == 0
    assert own.processes() == []


def test_the_supervisors_death_leaves_no_checkpoint_behind(own: LargeProgram) -> None:
    own.save_version()
    own.wait_for_checkpoints()
    own.signal(signal.SIGKILL)
    wait_until(lambda: not own.processes(), what="all processes to end")


def test_an_old_generation_drains_while_checkpoints_come_and_go(shared: LargeProgram) -> None:
    busy = shared.folder / "busy"
    left = len(shared.said("left"))
    busy.touch()
    for _ in range(4):
        shared.save_version()
    busy.unlink()
    wait_until(lambda: len(shared.said("left")) == left + 4)
    shared.wait_for_checkpoints()
    wait_until(lambda: len(shared.processes()) == ALL, what="the others to exit")
