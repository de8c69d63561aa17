"""`make doctor` finds what is wrong with a clone and its machine: each test breaks one thing for real."""

import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.repository import share_environment
from tests.tools.doctor import Patient, namespace, slow_clock

pytestmark = pytest.mark.slow


@pytest.fixture
def clone(tmp_path: Path) -> Patient:
    """A clone with `.env`, but without `.venv`."""
    return Patient(tmp_path / "a clone")


@pytest.fixture
def prepared(clone: Patient) -> Patient:
    """A clone with `.venv`."""
    share_environment(clone.folder)
    if not (clone.folder / ".venv").exists():
        pytest.skip("the tests don't run in .venv")
    return clone


def test_a_well_clone_passes_and_stays_as_it_is(prepared: Patient) -> None:
    before = prepared.content()
    said = prepared.doctor()
    assert prepared.code == 0, said
    assert "note nothing runs, so Redis, database, image and code were not checked: `make dev`.\n" in said
    for name in (
        "Python and .venv",
        "the files are yours",
        "line endings",
        "names in .env",
        "values in .env",
    ):
        assert f"ok   {name}\n" in said
    assert "ok   disk space, clock and file events\n" in said
    assert prepared.content() == before


def test_without_docker_venv_and_env_it_says_what_was_not_checked(clone: Patient, tmp_path: Path) -> None:
    (clone.folder / ".env").unlink()
    before = clone.content()
    said = clone.doctor(RUNTIME="", PATH=str(tmp_path))
    assert clone.code == 0, said
    for text in (
        "note there is no docker command, so everything runs natively: install it from https://docs.docker",
        "note there is no .venv, which only Docker does without: `make check` makes it.",
        "note there is no .env: `make dev` makes it from .env.example.",
        "note the values in .env were not checked: `make check` makes .venv, which can.",
        "ok   disk space, clock and file events",
    ):
        assert text in said
    assert clone.content() == before


def test_colours_are_for_a_terminal_only(clone: Patient) -> None:
    assert "\033" not in clone.doctor()
    ours, its = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"RUNTIME": "native", "API_PORT": str(clone.port)}
    command = [sys.executable, "-m", "tools", "doctor"]
    subprocess.run(command, cwd=clone.folder, env=environment, stdout=its, check=False)
    os.close(its)
    assert b"\033[32mok  \033[0m " in os.read(ours, 10_000)
    os.close(ours)


def test_a_mistyped_name_in_env_gets_the_known_one(clone: Patient) -> None:
    clone.write(".env", "LOG_LEVLE=info\nOF_MY_OWN=1\nOTEL_BSP_SCHEDULE_DELAY=5\nREDIS_PASSWORD_FILE=/x\n")
    said = clone.doctor()
    assert "FIX  nothing reads LOG_LEVLE in .env: did you mean LOG_LEVEL?\n" in said
    assert "note nothing reads OF_MY_OWN in .env: explain it in .env.example, or remove it.\n" in said
    assert said.count("nothing reads") == 2


def test_invalid_values_in_env_are_all_reported(prepared: Patient) -> None:
    prepared.write(".env", "DEBUG=perhaps\nMAX_UPLOAD_MB=0\nJOB_TIMEOUT=400\nWORKER_STOP_GRACE_PERIOD=60s\n")
    said = prepared.doctor()
    assert "FIX  DEBUG is wrong: Input should be a valid boolean" in said
    assert (
        "FIX  MAX_UPLOAD_MB is wrong: Input should be greater than or equal to 1: correct it in .env" in said
    )
    assert "Set WORKER_STOP_GRACE_PERIOD=430s" in said
    said = prepared.doctor(API_PORT="http")
    assert "FIX  API_PORT=http is not a port: use a number from 1 to 65535, such as API_PORT=8001.\n" in said


def test_settings_that_do_not_load_say_where(prepared: Patient) -> None:
    prepared.write("src/settings.py", "def broken(:\n")
    assert "FIX  SyntaxError: invalid syntax: correct it" in prepared.doctor()


def test_an_env_that_is_not_text_is_one_line(clone: Patient) -> None:
    (clone.folder / ".env").write_bytes(b"API_PORT=\xff\n")
    assert "FIX  names in .env can't be checked ('utf-8' codec can't decode byte 0xff" in clone.doctor()


def test_line_endings_of_windows_are_named_and_the_fix_removes_them(clone: Patient) -> None:
    for name in ("docker-compose.yml", ".env"):
        clone.write(name, (clone.folder / name).read_text().replace("\n", "\r\n"))
    (line,) = [line for line in clone.doctor().splitlines() if "CRLF" in line]
    assert line.startswith("FIX  the lines of docker-compose.yml, .env end in CRLF, as on Windows: ")
    if shutil.which("perl"):
        subprocess.run(line.partition(": ")[2], shell=True, cwd=clone.folder, check=True)  # noqa: S602
        assert "ok   line endings" in clone.doctor()


def test_a_taken_port_names_the_process(clone: Patient) -> None:
    if not (shutil.which("lsof") or shutil.which("ss")):
        pytest.skip("neither lsof nor ss, which name a process")
    with socket.create_server(("127.0.0.1", clone.port)):
        said = clone.doctor()
    assert f"FIX  Port {clone.port} is taken by " in said
    assert f"(pid {os.getpid()}): stop it, or use another port, `make dev API_PORT=8001`.\n" in said
    clone.doctor()
    assert clone.code == 0


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_files_of_another_user_are_named_and_chown_fixes_them(shared: Path) -> None:
    clone, nobody, python = Patient(shared / "clone"), 65534, "/usr/bin/python3"
    is_new = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not Path(python).exists() or subprocess.run(is_new, user=nobody, check=False).returncode:
        pytest.skip("no Python that every user may run")
    subprocess.run(["chown", "-R", str(nobody), clone.folder], check=True)
    assert "ok   the files are yours\n" in clone.doctor(python=python, user=nobody)
    clone.write("logs/fastapi.log", "")
    (clone.folder / "src" / "main.py").chmod(0o644)
    os.chown(clone.folder / "src" / "main.py", 0, 0)
    said = clone.doctor(python=python, user=nobody)
    assert "FIX  logs/fastapi.log belongs to another user: sudo chown -R $(id -u):$(id -g) logs\n" in said
    assert "FIX  src/main.py belongs to another user: sudo chown -R $(id -u):$(id -g) src\n" in said


def test_a_disk_with_another_clock_is_found(clone: Patient, tmp_path: Path) -> None:
    said = clone.doctor(LD_PRELOAD=slow_clock(tmp_path))
    assert "FIX  the disk of this clone is +60 s off: set both clocks" in said


def test_a_system_without_file_events_is_found(clone: Patient) -> None:
    said = clone.doctor(*namespace("echo 0 >/proc/sys/user/max_inotify_instances"))
    assert "note this clone gets no file events and scans src instead (OSError: [Errno 24]" in said
    assert "raise fs.inotify's limits" in said
    assert clone.code == 0
    assert not (clone.folder / "src" / "make-doctor-probe").exists()


def test_a_full_disk_is_found(clone: Patient, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=100m tmpfs "$2" && cp -a "$1/." "$2" && cd "$2"'
    said = clone.doctor(*namespace(script, str(clone.folder), str(small)))
    assert "MB are free in this clone: make space" in said
    assert clone.code == 1


def test_a_python_that_is_too_old_is_found(prepared: Patient) -> None:
    text = (prepared.folder / "pyproject.toml").read_text()
    prepared.write("pyproject.toml", text.replace('">=3.11"', '">=3.99"'))
    said = prepared.doctor()
    assert "FIX  python3 is Python 3." in said
    assert "FIX  .venv is Python 3." in said
    assert ", this needs >=3.99: install that, then remove .venv.\n" in said


def test_a_venv_behind_the_lock_is_found(prepared: Patient) -> None:
    lock = prepared.folder / "requirements-dev.txt"
    lock.write_text(lock.read_text() + "# newer\n")
    assert "FIX  .venv is not what requirements-dev.txt pins: `make check` renews it.\n" in prepared.doctor()


@pytest.mark.parametrize(
    ("docker", "compose", "line"),
    [
        (
            "24.0.9",
            "2.40.3",
            "FIX  Docker 24.0.9 is too old, the compose files need 25.0: install it from https:",
        ),
        (
            "28.2.2",
            "2.19.1",
            "FIX  Compose 2.19.1 is too old, the compose files need 2.20.2: install it from",
        ),
    ],
)
def test_a_docker_that_is_too_old_is_found(
    clone: Patient, tmp_path: Path, docker: str, compose: str, line: str
) -> None:
    """The only stand-in here: there is no old Docker to start."""
    tool = tmp_path / "docker"
    tool.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo {docker} || echo v{compose}\n')
    tool.chmod(0o755)
    assert line in clone.doctor(RUNTIME="", PATH=f"{tmp_path}:{os.environ['PATH']}").replace(
        "Compose v", "Compose "
    )


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command found")
def test_a_daemon_that_is_not_there_or_does_not_answer_takes_seconds(clone: Patient) -> None:
    said = clone.doctor(RUNTIME="", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert "note Docker does not answer (" in said
    assert "start it, and see whether you may use it (group docker)." in said
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = clone.doctor(RUNTIME="", DOCKER_HOST=f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert "note Docker does not answer (Command " in said
    assert clone.code == 0
