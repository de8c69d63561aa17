"""`python -m src.reload COMMAND…`: any program, of which the new one starts beside the old one."""

import signal
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from tests.conftest import ROOT, wait_until
from tests.reload.program import CHANGED, Program
from tools.ports import free_port

pytestmark = pytest.mark.slow

MAIN = """
import os, signal, socket, subprocess, sys, time
from pathlib import Path

signal.signal(signal.SIGTERM, lambda *_: finish())

def say(word):
    with open("said", "a") as file:
        file.write(f"{word} {VERSION} {os.getpid()}\\n")

def finish():
    say("quiet")
    while Path("busy").exists():
        time.sleep(0.01)
    say("left")
    sys.exit(0)

from pkg.version import VERSION

if Path("deaf").exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
say("started")
if Path("child").exists():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
while Path("unready").exists():
    time.sleep(0.01)
say("working")
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
Path("sign").write_text(str(VERSION))
print(f"ready {VERSION}")
print(f"warning {VERSION}", file=sys.stderr)
while True:
    signal.pause()
"""

Start = Callable[..., Program]


@pytest.fixture
def start(program: Program) -> Start:
    """Starts the program behind the command line with these options."""

    def start(*options: str) -> Program:
        port = str(free_port())
        program.save("main.py", MAIN)
        reload = [sys.executable, "-m", "src.reload", "--watch", "pkg"]
        options = tuple(option.replace("PORT", port) for option in options)
        program.run([*reload, *options, "python", "-m", "pkg.main", port])
        program.wait_for_log("New program at work")
        return program

    return start


@pytest.mark.parametrize("sign", ["^ready [0-9]", "file:sign", "port:PORT"])
def test_the_old_program_is_stopped_once_the_new_one_shows_that_it_is_ready(start: Start, sign: str) -> None:
    program = start("--ready", sign)
    (program.folder / "unready").touch()
    program.save("version.py", "VERSION = 2\n")
    program.wait_for("started", 2)
    program.save("version.py", "VERSION = 3\n")
    program.wait_for("started", 3)
    program.wait_for("left", 2)
    assert [version for version, _ in program.said("quiet")] == ["2"], "the one that was never ready has left"
    (program.folder / "unready").unlink()
    program.wait_for("left", 1)
    said = (program.folder / "said").read_text()
    assert said.index("working 3") < said.index("quiet 1")
    program.wait_for_log(CHANGED.replace("worker", "program"))
    assert "ready 3" in program.log
    assert "warning 3" in program.log
    program.signal(signal.SIGTERM)
    program.wait_for("left", 3)
    assert program.wait() == 0
    assert not program.processes()


@pytest.mark.parametrize("options", [(), ("--ready", "^ready")])
def test_a_program_that_dies_before_it_is_ready_changes_nothing(
    start: Start, options: tuple[str, ...]
) -> None:
    program = start(*options)
    program.save("version.py", "VERSION = (\n")
    program.wait_for_log("the last good code keeps working: program: it ended with exit code 1 before it was")
    assert program.log.count("SyntaxError") == 1
    assert not program.said("quiet")
    program.save("version.py", "VERSION = 2\n")
    program.wait_for("left", 1)


def test_a_program_that_is_not_ready_in_time_is_ended(start: Start) -> None:
    program = start("--ready", "^ready", "--ready-timeout", "1.5")
    (program.folder / "unready").touch()
    program.save("version.py", "VERSION = 2\n")
    program.wait_for_log("the last good code keeps working: program: it is not ready after 1.5 s")
    program.wait_for("left", 2)
    assert not [version for version, _ in program.said("quiet") if version == "1"]


@pytest.mark.slow  # it waits for the grace period
def test_a_program_that_was_never_ready_can_not_refuse_to_end(start: Start) -> None:
    program = start("--ready", "^ready")
    for name in ("unready", "deaf"):
        (program.folder / name).touch()
    program.save("version.py", "VERSION = 2\n")
    deaf = program.wait_for("started", 2)
    program.save("version.py", "VERSION = 3\n")
    program.wait_for("started", 3)
    assert psutil.pid_exists(deaf)
    wait_until(lambda: not psutil.pid_exists(deaf), what="its end")


def test_a_program_that_dies_later_is_started_again(start: Start) -> None:
    program = start("--ready", "^ready")
    psutil.Process(program.wait_for("working", 1)).kill()
    program.wait_for_log("ended by itself (exit code 137): starting it again")
    wait_until(lambda: len(program.said("working")) == 2, what="the second one")


def test_the_program_ends_with_a_supervisor_that_is_killed(start: Start) -> None:
    program = start("--ready", "^ready")
    program.signal(signal.SIGKILL)
    program.wait_for("left", 1)
    wait_until(lambda: not program.processes(), what="the end of all processes")


def test_a_second_signal_kills_the_program_and_what_it_has_started(program: Program, start: Start) -> None:
    for name in ("busy", "child"):
        (program.folder / name).touch()
    start("--ready", "^ready")
    program.signal(signal.SIGINT)
    program.wait_for("quiet", 1)
    program.insist(signal.SIGINT)
    assert program.wait() == 128 + signal.SIGINT
    wait_until(lambda: not program.processes(), what="the end of all processes")
    assert not program.said("left")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no program ''"),
        (["no-such-program"], "there is no program 'no-such-program'"),
        (["--watch", "nowhere", "python"], "--watch nowhere: not a folder"),
        (["--ready", "(", "python"], "--ready (: not a regular expression, missing )"),
        (["--ready", "port:http", "python"], "--ready port:http: not port:NUMBER"),
        (["--ready", "^ready", "uvicorn", "main:app"], "uvicorn needs no --ready"),
        (["--import", "main", "uvicorn", "main:app"], "uvicorn needs no --import"),
        (["--ready", "x", "--ready-timeout", "0", "python"], "--ready-timeout 0: not more than 0 seconds"),
        (
            ["--ready", "x", "--ready-timeout", "nan", "python"],
            "--ready-timeout nan: not more than 0 seconds",
        ),
        (["--ready-timeout", "5", "uvicorn", "main:app"], "--ready-timeout needs --ready"),
        (["uvicorn", "main:app", "--port", "99999"], "uvicorn: bind(): port must be 0-65535"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", "src.reload", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr.replace("\n", " ")
