"""A reload of a larger program: the modules before the changed one are not loaded again."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.reload.large_program import MODULE, MODULES, LargeProgram, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has checkpoints"),
]

PROGRAM = LargeProgram


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
    shared.save_version()
    shared.wait_for_checkpoints()
    before = len(shared.processes())
    for _ in range(3):
        shared.save_version()
        shared.wait_for_checkpoints()
        wait_until(lambda: len(shared.processes()) <= before, what="the others to exit")


def test_what_a_module_prints_is_printed_once_a_generation(shared: LargeProgram) -> None:
    def counts() -> list[int]:
        return [shared.log.count(f"loading {number}\n") for number in (0, 79)]

    shared.wait_for_checkpoints()
    first, last = counts()
    shared.save_version()
    shared.wait_for_checkpoints()
    assert counts() == [first, last + 1]


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
        "import subprocess\nNAMES = subprocess.check_output(['ls'])\n",
        "os.system('true')\n",
    ],
    ids=["a socket", "a thread", "a database", "an event loop", "a process", "a shell"],
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
    shared.save_version()  # which gives the file a checkpoint of its own
    shared.wait_for_checkpoints()
    before = len(shared.processes())
    busy = shared.folder / "busy"
    left = len(shared.said("left"))
    busy.touch()
    for _ in range(4):
        shared.save_version()
    busy.unlink()
    wait_until(lambda: len(shared.said("left")) == left + 4)
    shared.wait_for_checkpoints()
    wait_until(lambda: len(shared.processes()) <= before, what="the others to exit")
