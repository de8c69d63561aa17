"""The supervisor: hand-over without a gap, broken code, crashes, and a clean end."""

import shutil
import signal
from pathlib import Path

import psutil
import pytest

from src.reload.protocol import REFUSED
from tests.conftest import wait_until
from tests.reload.program import CHANGED, MAIN, Program


def test_a_save_brings_a_new_generation_and_the_old_one_leaves(running: Program) -> None:
    running.save("version.py", "VERSION = 2\n")
    running.wait_for("working", 2)
    running.wait_for("left", 1)
    running.wait_for_log(CHANGED)
    said = (running.folder / "said").read_text()
    assert said.index("working 2") < said.index("left 1")
    lines = [line for line in running.log.splitlines() if "DEBUG" not in line][-3:]
    assert lines[0] == "INFO Code change detected: version.py"
    assert lines[1] == f"INFO {CHANGED}"
    assert lines[2].startswith("INFO New worker at work after 0.")


def test_the_hand_over_is_logged_only_once_the_old_one_starts_nothing_new(program: Program) -> None:
    slow = MAIN.replace(
        "    generation.quiet()",
        '    while Path("deaf").exists():\n        time.sleep(0.01)\n    generation.quiet()',
    )
    program.save("main.py", slow)
    (program.folder / "deaf").touch()
    program.start()
    program.wait_for("working", 1)
    program.save("version.py", "VERSION = 2\n")
    program.wait_for("working", 2)
    assert CHANGED not in program.log
    (program.folder / "deaf").unlink()
    program.wait_for_log(CHANGED)


def test_saves_during_long_work_let_every_old_generation_finish(running: Program) -> None:
    busy = running.folder / "busy"
    first = running.wait_for("working", 1)
    busy.touch()
    running.save("version.py", "VERSION = 2\n")
    second = running.wait_for("working", 2)
    running.wait_for("quiet", 1)
    running.save("version.py", "VERSION = 3\n")
    running.wait_for("working", 3)
    running.wait_for_log(CHANGED, 2)
    assert psutil.pid_exists(first)
    assert psutil.pid_exists(second)
    busy.unlink()
    running.wait_for("left", 1)
    running.wait_for("left", 2)
    wait_until(lambda: not psutil.pid_exists(first) and not psutil.pid_exists(second), what="both to exit")


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        ("VERSION = (\n", "pkg/version.py:1", "SyntaxError"),
        ("import nothing_of_this_name\n", "pkg/version.py:1", "ModuleNotFoundError"),
        ("\nVERSION = 1 / 0\n", "pkg/version.py:2", "ZeroDivisionError"),
        ("import sys\nsys.exit(7)\n", "pkg/version.py:2", "SystemExit: 7"),
        (
            "import sys\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    sys.exit(3)\n",
            "pkg/version.py:3",
            "ZeroDivisionError: division by zero",
        ),
        (
            "raise ValueError('1 error\\n  it is none\\n    see there')\n",
            "pkg/version.py:1",
            "1 error it is none see",
        ),
    ],
)
def test_broken_code_never_takes_over(running: Program, content: str, place: str, reason: str) -> None:
    running.save("version.py", content)
    running.wait_for_log("ERROR Code can't be loaded, the last good code keeps working")
    error = next(line for line in running.log.splitlines() if line.startswith("ERROR"))
    assert place in error
    assert reason in error
    assert running.said("quiet") == []
    assert CHANGED not in running.log
    running.save("version.py", "VERSION = 2\n")
    running.wait_for("working", 2)
    running.wait_for_log(CHANGED)


@pytest.mark.slow  # it waits for the time limit
def test_an_import_that_hangs_is_broken_code(program: Program) -> None:
    program.start('{"import_timeout": 2}')
    program.wait_for("working", 1)
    program.save("version.py", "import time\ntime.sleep(600)\n")
    program.wait_for_log("pkg/version.py:2: the import takes longer than 2 s")
    program.save("version.py", "VERSION = 2\n")
    program.wait_for("working", 2)


@pytest.mark.parametrize("name", ["version.py", "__init__.py"])
def test_a_program_that_is_broken_from_the_start_waits_for_the_next_save(program: Program, name: str) -> None:
    program.save(name, "VERSION = (\n")
    program.start()
    program.wait_for_log(f"waiting for the next save: pkg/{name}:1: SyntaxError")
    program.save(name, "VERSION = 2\n")
    program.wait_for("working", 2 if name == "version.py" else 1)


REFUSAL = f"import sys\nsys.exit({REFUSED})\n"


def test_a_program_that_refuses_to_start_ends_the_supervisor(program: Program) -> None:
    program.save("version.py", REFUSAL)
    program.start()
    assert program.wait() == REFUSED
    wait_until(lambda: not program.processes(), what="its processes to end")
    assert "Code can't be loaded" not in program.log


def test_code_that_refuses_to_start_never_takes_over(running: Program) -> None:
    running.save("version.py", REFUSAL)
    running.wait_for_log(
        "Code can't be loaded, the last good code keeps working: pkg/version.py:2: it refuses to start"
    )
    running.save("version.py", "VERSION = 3\n")
    running.wait_for("working", 3)


def test_two_saves_of_the_same_size_within_a_second_both_arrive(running: Program) -> None:
    for version in range(2, 9):
        running.save("version.py", f"VERSION = {version}\n")
        running.wait_for("working", version)


DELETE_CACHE = """
import shutil, tempfile
from pathlib import Path
for path in Path(tempfile.gettempdir()).glob("hot-reload-*"):
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
"""


@pytest.mark.parametrize("is_early", [True, False], ids=["at the first start", "later"])
def test_a_cache_that_was_deleted_is_made_again(
    program: Program, tmp_path_factory: pytest.TempPathFactory, *, is_early: bool
) -> None:
    temporary = tmp_path_factory.mktemp("temporary")
    program.save("version.py", f"{DELETE_CACHE if is_early else ''}\nVERSION = 1\n")
    program.start(TMPDIR=str(temporary))
    program.wait_for_log("New worker at work")
    for path in temporary.glob("hot-reload-*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)  # the supervisor writes to it
    program.save("version.py", "VERSION = 2\n")
    program.wait_for("working", 2)
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    assert not list(temporary.glob("hot-reload-*"))


def test_many_files_at_once_give_one_hand_over(running: Program) -> None:
    for number in range(500):
        (running.folder / "pkg" / f"module_{number}.py").write_text("X = 1\n")
    running.save("version.py", "VERSION = 2\n")
    running.wait_for("working", 2)
    running.wait_for_log(CHANGED)
    assert running.log.count(CHANGED) == 1


def test_a_save_during_a_hand_over_is_not_missed(program: Program) -> None:
    program.save("main.py", MAIN.replace("    stop =", "    time.sleep(0.3)\n    stop ="))
    program.start()
    program.wait_for("working", 1)
    program.save("version.py", "VERSION = 2\n")
    program.wait_for_log("Code change detected: version.py")
    program.save("version.py", "VERSION = 3\n")
    program.wait_for("working", 3)
    assert program.said("working")[-1][0] == "3"


def test_touching_a_file_changes_nothing(running: Program) -> None:
    (running.folder / "pkg" / "version.py").touch()
    running.save("main.py", MAIN)
    running.save("other.py", "")
    running.wait_for_log("Code change detected: other.py")
    assert "main.py" not in running.log
    assert "version.py" not in running.log


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_thirty_hand_overs_leak_nothing(running: Program) -> None:
    def measure() -> tuple[int, int]:
        wait_until(lambda: len(running.processes()) == 4, what="supervisor, two helpers, one generation")
        return len(list(Path(f"/proc/{running.pid}/fd").iterdir())), psutil.Process(
            running.pid
        ).memory_info().rss

    hand_overs = 0

    def hand_over() -> None:
        nonlocal hand_overs
        hand_overs += 1
        running.save("version.py", f"VERSION = {100 + hand_overs}\n")
        running.wait_for_log(CHANGED, hand_overs)

    for _ in range(5):
        hand_over()
    files, memory = measure()
    for _ in range(30):
        hand_over()
    # The supervisor closes those of the last generation when it has noticed its end.
    wait_until(lambda: measure()[0] == files, what="as many open files as before")
    _, memory_after = measure()
    assert memory_after < memory * 1.05


def test_a_file_of_the_code_can_be_run_as_a_program(program: Program) -> None:
    program.save("script.py", "VERSION = 'run'\n")
    program.save("version.py", "import runpy\nVERSION = runpy.run_path('pkg/script.py')['VERSION']\n")
    program.start()
    program.wait_for("working", "run")
