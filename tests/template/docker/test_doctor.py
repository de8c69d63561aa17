"""`make doctor` beside a development stack on Docker, on which the tests break one thing after the other."""

import json
import os
import secrets
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.template.docker.engine import docker
from tests.template.running import Running, run
from tests.tools.doctor import Patient, namespace, slow_clock

GOOD = "ok   the code on disk is the code that runs\n"


class Stack(Patient):
    """A clone whose development stack runs on Docker; it has no `.venv`."""

    def __init__(self, running: Running) -> None:
        super().__init__(running.folder)
        self.running, self.port = running, running.port
        self.up("--build", "--wait")
        running.wait_for_code(workers=1)

    def up(self, *arguments: str, files: tuple[str, ...] = ()) -> None:
        """Start the stack with these files, too."""
        names = ("docker-compose.yml", "docker-compose.dev.yml", *files)
        command = [part for name in names for part in ("-f", name)] + ["up", "-d", *arguments]
        user = {"HOST_UID": str(os.getuid()), "HOST_GID": str(os.getgid())}
        run(self.folder, "docker", "compose", *command, **self.running.environment, **user)

    def without(self, service: str) -> str:
        """What `make doctor` says while a service is stopped."""
        self.running.compose("stop", service, form="dev")
        said = self.examine()
        self.running.compose("start", service, form="dev")
        self.running.wait_for_code(workers=1)
        return said

    def examine(self, *wrapper: str, port: str = "", preload: str = "") -> str:
        """What `make doctor` says, by default without knowing the port."""
        project = self.running.project
        named = {"COMPOSE_PROJECT_NAME": project, "API_PORT": port, "LD_PRELOAD": preload, "RUNTIME": ""}
        return self.doctor(*wrapper, python=sys.executable, user=None, **named)


@pytest.fixture(scope="module")
def stack(clone: Running) -> Stack:
    return Stack(clone)


def test_a_well_stack_passes_and_does_not_notice(stack: Stack) -> None:
    before, files = stack.running.get("/version")["loaded_at"], stack.content().keys()
    said = stack.examine()
    assert stack.code == 0, said
    assert f"ok   the API on port {stack.port}, Redis, database, migrations\n{GOOD}" in said
    assert "ok   Docker " in said
    assert "file events" not in said.replace("ok   disk space, clock and file events", "")
    assert stack.running.get("/version")["loaded_at"] == before
    assert stack.content().keys() == files


def test_an_image_that_is_older_than_the_lock_is_found(stack: Stack) -> None:
    lock = stack.folder / "requirements.txt"
    before = lock.read_text()
    lock.write_text(before + "# newer\n")
    fix = "stop the stack and start it again."
    assert f"FIX  the image is older than requirements.txt: {fix}\n" in stack.examine()
    lock.write_text(before)


def test_a_container_with_another_clock_is_found(stack: Stack, tmp_path: Path) -> None:
    said = stack.examine(preload=slow_clock(tmp_path))
    assert "FIX  the clock of the container is +60 s off: set both clocks" in said


def test_a_compose_file_that_can_not_be_read_is_found(stack: Stack) -> None:
    env = (stack.folder / ".env").read_text()
    stack.write(".env", env + "REDIS_MEMORY=many\n")
    said = stack.examine()
    stack.write(".env", env)
    assert "FIX  Compose can't read docker-compose.prod.yml (" in said
    assert "docker-compose.dev.yml (" not in said


def test_a_worker_that_is_away_is_found(stack: Stack) -> None:
    said = stack.without("rqworker")
    assert "FIX  the code on disk does not run in any worker: `make logs` may say why" in said


@pytest.mark.parametrize(
    ("service", "away"), [("redis", "Redis does not"), ("postgres", "The database does not")]
)
def test_a_service_that_is_away_is_found(stack: Stack, service: str, away: str) -> None:
    assert f"FIX  the API on port {stack.port} is not ready ({away} answer" in stack.without(service)


def test_a_mount_without_events_is_found(stack: Stack) -> None:
    """Another folder in its place, as after the clone was moved: what is saved here does not arrive there."""
    other = stack.folder.parent / "other"
    shutil.copytree(stack.folder / "src", other / "src")
    mount = {"type": "bind", "source": str(other / "src"), "target": "/app/src"}
    stack.write("elsewhere.json", json.dumps({"services": {"fastapi": {"volumes": [mount]}}}))
    stack.up("--no-build", "--no-deps", "fastapi", files=("elsewhere.json",))
    wait_until(lambda: stack.running.get("/version"), 60, "the API")
    (stack.folder / "src" / "added.py").write_text("ADDED = True\n")
    said = stack.examine()
    assert "note the container gets no file events and scans src instead (src): " in said
    assert "FIX  the code on disk does not run in the API: `make logs` may say why" in said


def test_little_space_for_the_data_of_docker_is_found(stack: Stack) -> None:
    data = docker("info", "--format", "{{.DockerRootDir}}")
    if not Path(data).is_dir():
        pytest.skip("Docker's data is in a virtual machine")
    said = stack.examine(*namespace('mount -t tmpfs -o size=10m tmpfs "$1"', data))
    assert f"FIX  only 10 MB are free in Docker's {data}: make space (`docker system" in said


def test_a_port_that_a_container_has_names_the_container(stack: Stack) -> None:
    stack.running.compose("down", "--volumes", form="dev")
    name = f"e2e-{secrets.token_hex(4)}"
    docker("run", "--rm", "-d", "--name", name, "-p", f"127.0.0.1:{stack.port}:80", "redis:8-alpine")
    try:
        said = stack.examine(port=str(stack.port))
    finally:
        docker("rm", "--force", name)
    assert f"FIX  Port {stack.port} is taken by the container {name}: stop it, or use another port" in said
    wait_until(lambda: "FIX" not in stack.examine(port=str(stack.port)), 20, "a free port")
