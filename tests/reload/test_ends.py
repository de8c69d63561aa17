"""How a program under the supervisor ends: after a signal, a kill or too many crashes, with nothing left."""

import os
import signal
from functools import partial

import pytest

from tests.conftest import wait_until
from tests.reload.program import CHANGED, MAIN, Program


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

    def insist() -> bool:  # a signal right after the first one counts as the same
        if "at once" in running.log:
            return True
        running.signal(signal.SIGTERM)
        return False

    wait_until(insist, what="the kill")
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


def test_a_killed_generation_is_replaced(running: Program) -> None:
    for _ in range(3):
        generations = len(running.said("working"))
        os.kill(running.said("working")[-1][1], signal.SIGKILL)
        wait_until(partial(lambda before: len(running.said("working")) > before, generations))
    assert "was killed (SIGKILL): starting it again in 0.1 s" in running.log


def test_a_killed_fork_server_is_replaced(running: Program) -> None:
    server = wait_until(
        lambda: [
            p
            for p in running.processes()
            if "forkserver" in " ".join(p.cmdline()) and p.ppid() == running.pid
        ],
        what="the fork server",
    )
    server[0].kill()
    running.save("version.py", "VERSION = 2\n")
    running.wait_for("working", 2)
    running.wait_for_log(CHANGED)


def test_after_too_many_crashes_in_a_row_it_gives_up(program: Program) -> None:
    program.save("main.py", MAIN.replace("    stop.wait()", "    os._exit(5)"))
    program.start('{"max_restarts": 3}')
    assert program.wait() == 1
    assert len(program.said("working")) == 4
    assert "ended by itself (exit code 5), 4 times in a row: giving up" in program.log
    assert program.processes() == []
