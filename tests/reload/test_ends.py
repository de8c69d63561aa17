"""How a program under the supervisor ends: after a signal, a kill or too many crashes, with nothing left."""

import os
import signal
from functools import partial

import pytest

from tests.conftest import wait_until
from tests.reload.program import CHANGED, MAIN, Program

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_work_finish_and_leaves_nothing_behind(
    running: Program, number: signal.Signals
) -> None:
    (running.folder / "busy").touch()
    running.signal(number)
    running.wait_for("quiet", 1)
    assert running.said("left") == []
    (running.folder / "busy").unlink()
    assert running.wait() == 0
    assert running.said("left")
    assert running.processes() == []


def test_a_signal_while_it_starts_ends_it(program: Program) -> None:
    program.save("version.py", "import time\ntime.sleep(600)\n")
    program.start()
    wait_until(lambda: len(program.processes()) >= 3, what="a generation that starts")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert program.processes() == []


def test_a_signal_during_a_hand_over_ends_it(running: Program) -> None:
    before = len(running.processes())
    running.save("version.py", "import time\ntime.sleep(600)\n")
    wait_until(lambda: len(running.processes()) > before, what="the next generation")
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert running.said("left")
    assert running.processes() == []


def test_a_signal_while_one_drains_waits_for_it(running: Program) -> None:
    (running.folder / "busy").touch()
    running.save("version.py", "VERSION = 2\n")
    running.wait_for_log(CHANGED)
    running.signal(signal.SIGTERM)
    running.wait_for("quiet", 2)
    assert running.said("left") == []
    (running.folder / "busy").unlink()
    assert running.wait() == 0
    assert {version for version, _ in running.said("left")} == {"1", "2"}
    assert running.processes() == []


def test_a_signal_while_it_waits_for_good_code_ends_it(program: Program) -> None:
    program.save("version.py", "VERSION = (\n")
    program.start()
    program.wait_for_log("waiting for the next save")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert program.processes() == []


def test_a_signal_while_it_backs_off_ends_it(program: Program) -> None:
    program.save("main.py", MAIN.replace("    stop.wait()", "    os._exit(5)"))
    program.start()
    program.wait_for_log("starting it again in 0.8 s")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert program.processes() == []


def test_a_second_signal_kills_at_once(running: Program) -> None:
    (running.folder / "busy").touch()
    running.signal(signal.SIGTERM)
    running.wait_for("quiet", 1)
    running.insist(signal.SIGTERM)
    assert running.wait() == 128 + signal.SIGTERM
    assert running.said("left") == []
    assert running.processes() == []


def test_ctrl_c_for_the_whole_process_group_lets_the_work_finish(running: Program) -> None:
    (running.folder / "busy").touch()
    os.killpg(running.pid, signal.SIGINT)
    running.wait_for("quiet", 1)
    (running.folder / "busy").unlink()
    assert running.wait() == 0
    assert running.said("left")
    assert running.processes() == []


def test_a_killed_supervisor_leaves_nothing_behind(running: Program) -> None:
    running.save("version.py", "VERSION = 2\n")
    running.wait_for_log(CHANGED)
    running.signal(signal.SIGKILL)
    running.wait_for("left", 2)
    wait_until(lambda: not running.processes(), what="all processes to end")


def test_what_was_killed_leaves_nothing_in_the_temporary_folder(
    program: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temporary = tmp_path_factory.mktemp("t")

    def start(count: int) -> None:
        program.start(TMPDIR=str(temporary))
        program.wait_for_log("New worker at work", count)

    start(1)
    program.signal(signal.SIGKILL)
    wait_until(lambda: not program.processes(), what="all processes to end")
    assert list(temporary.iterdir()) == [], "the generation cleans up"
    start(2)
    program.kill_all()
    start(3)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert list(temporary.iterdir()) == [], "the next supervisor cleans up"


def test_a_killed_generation_is_replaced(running: Program) -> None:
    for _ in range(3):
        generations = len(running.said("working"))
        os.kill(running.said("working")[-1][1], signal.SIGKILL)
        wait_until(partial(lambda before: len(running.said("working")) > before, generations))
    assert "was killed (SIGKILL): starting it again in 0.1 s" in running.log


def test_a_killed_fork_server_is_replaced(running: Program) -> None:
    running.fork_server().kill()
    running.save("version.py", "VERSION = 2\n")
    running.wait_for("working", 2)
    running.wait_for_log(CHANGED)


def test_a_fork_server_that_hangs_holds_up_no_reload_of_packages(running: Program) -> None:
    running.fork_server().suspend()
    (running.folder / ".env").write_text("GREETING=hello\n")
    wait_until(lambda: len(running.said("working")) == 2, what="the next generation")
    running.save("version.py", "VERSION = 2\n")
    running.wait_for("working", 2)


def test_after_too_many_crashes_in_a_row_it_gives_up(program: Program) -> None:
    program.save("main.py", MAIN.replace("    stop.wait()", "    os._exit(5)"))
    program.start('{"max_restarts": 3}')
    assert program.wait() == 1
    assert len(program.said("working")) == 4
    assert "ended by itself (exit code 5), 4 times in a row: giving up" in program.log
    assert program.processes() == []


def test_each_generation_calls_what_atexit_knows(running: Program) -> None:
    # The first one is started in another way than those from the fork server.
    register = "import atexit\nfrom pkg import main\natexit.register(lambda: main.say('exit'))\n"
    for number in (2, 3, 4):
        running.save("version.py", f"{register}VERSION = {number}\n")
        running.wait_for("working", number)
    running.wait_for("exit", 2)
    running.wait_for("exit", 3)
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    assert [version for version, _ in running.said("exit")] == ["2", "3", "4"]
