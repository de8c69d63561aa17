"""Compose's own commands on a fresh clone, without make; and two clones on one machine."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.kit.repository import copy_repository
from tests.template.docker.engine import docker
from tests.template.running import ENVIRONMENT, Running, attempt, run
from tools import secret_files

DEV = ("-f", "docker-compose.yml", "-f", "docker-compose.dev.yml")
LASTING = {"fastapi", "rqworker", "redis", "postgres"}


def standalone(folder: Path) -> str:
    """`docker-compose` with a dash: the plugin under its old name."""
    plugins = json.loads(docker("info", "--format", "{{json .ClientInfo.Plugins}}"))
    (path,) = (plugin["Path"] for plugin in plugins if plugin["Name"] == "compose")
    (folder / "docker-compose").symlink_to(path)
    return str(folder / "docker-compose")


def secrets(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("ascii") for path in (folder / "secrets").glob("[a-z]*")}


def check_healthy(clone: Running, environment: str) -> None:
    """Every service is healthy, the API answers on this machine only, and its key is the file's."""
    states = clone.compose("ps", "--format", "json").splitlines()
    assert {s["Service"]: s["Health"] for s in map(json.loads, states)} == dict.fromkeys(LASTING, "healthy")
    (container,) = clone.containers("fastapi")
    assert container["HostConfig"]["PortBindings"]["8000/tcp"] == [
        {"HostIp": "127.0.0.1", "HostPort": str(clone.port)}
    ]
    assert wait_until(lambda: clone.get("/version"), 30, "/version")["environment"] == environment


def test_the_development_command_comes_up_healthy_and_makes_each_secret_once(
    clone: Running, tmp_path: Path
) -> None:
    environment = clone.environment | {"HOST_UID": str(os.getuid())}
    run(clone.folder, "docker", "compose", *DEV, "up", "-d", "--build", "--wait", **environment)
    check_healthy(clone, "development")
    made = secrets(clone.folder)
    assert made.keys() == {*secret_files.NAMES}
    assert len({*made.values()}) == 3
    assert all(len(secret) == 65 and secret.endswith("\n") for secret in made.values())
    assert stat.S_IMODE((clone.folder / "secrets").stat().st_mode) == 0o700
    assert {(clone.folder / "secrets" / name).stat().st_uid for name in made} == {os.getuid()}
    # A lost file comes back from the volume: the database knows that password only.
    (clone.folder / "secrets" / secret_files.POSTGRES).unlink()
    run(clone.folder, standalone(tmp_path), *DEV, "up", "-d", "--wait", **environment)
    assert secrets(clone.folder) == made
    check_healthy(clone, "development")


def test_each_server_can_read_its_own_password_only(clone: Running) -> None:
    for service in ("redis", "postgres"):
        (name,) = clone.inside(service, "ls", "/run/secrets").split()
        assert name == f"{service}_password"
        assert clone.inside(service, "cat", f"/run/secrets/{name}") == secrets(clone.folder)[name]


@pytest.mark.parametrize("wait", [[], ["--wait"]], ids=["", "wait"])
def test_the_plain_command_runs_production_on_the_same_secrets(clone: Running, wait: list[str]) -> None:
    made = secrets(clone.folder)
    run(clone.folder, "docker", "compose", "up", "-d", "--build", *wait, **clone.environment)
    wait_until(lambda: clone.get("/health/ready"), 90, "the API")
    run(clone.folder, "docker", "compose", "up", "-d", "--wait", **clone.environment)
    check_healthy(clone, "production")
    assert secrets(clone.folder) == made


def test_make_prod_takes_over_what_the_plain_command_started(clone: Running) -> None:
    made = secrets(clone.folder)
    clone.make("prod")
    assert secrets(clone.folder) == made
    clone.wait_for_code(workers=3)


def test_a_clone_beside_it_with_the_same_folder_name_gets_its_own_project_and_port(
    clone: Running, tmp_path: Path
) -> None:
    """Which project and port `make dev` would take, seen by its first lines."""
    second = tmp_path / "second"
    copy_repository(second)
    (second / ".env").write_text(f"API_PORT={clone.port}\n# COMPOSE_PROJECT_NAME=\n")
    unnamed = {name: value for name, value in ENVIRONMENT.items() if name != "COMPOSE_PROJECT_NAME"}
    program = (
        "from tools import clones\n"
        f"print(clones.own_project({clone.project!r}))\n"
        f"print(clones.api_port({{'API_PORT': '{clone.port}'}}, 'dev'))\n"
    )
    done = subprocess.run(
        ["python3", "-c", program], cwd=second, env=unnamed, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said, project, _, port = done.stdout.splitlines()
    assert str(clone.folder) in said
    assert project.startswith(f"{clone.project}-")
    assert int(port) > clone.port
    kept = (second / ".env").read_text().splitlines()
    assert kept == [f"API_PORT={port}", "# COMPOSE_PROJECT_NAME=", f"COMPOSE_PROJECT_NAME={project}"]
    assert attempt(second, "docker", "compose", "ps", "--quiet", COMPOSE_PROJECT_NAME=project) == (0, "")
