"""Which runtime `make` takes, which port, and what it says when neither can be had."""

import socket
from pathlib import Path

import pytest

from tools import docker, ports, runtime
from tools.console import ToolError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def _docker(path: Path, script: str) -> None:
    (path / "docker").write_text(f"#!/bin/sh\n{script}\n")
    (path / "docker").chmod(0o755)


def test_docker_is_used_when_a_daemon_answers(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _docker(path, "exit 0")
    assert runtime.choose({}) == "docker"
    first = "Runtime: docker (a Docker daemon answers; RUNTIME=native does without).\n"
    assert capsys.readouterr().out == first


def test_without_a_daemon_it_is_native(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _docker(path, "exit 1")
    assert runtime.choose({}) == "native"
    first = "Runtime: native (no Docker daemon answers; RUNTIME=docker insists on one).\n"
    assert capsys.readouterr().out == first


def test_without_compose_it_is_native(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _docker(path, '[ "$1" = info ]')
    assert runtime.choose({}) == "native"
    assert "no compose plugin" in capsys.readouterr().out


def test_runtime_native_does_not_use_docker(path: Path) -> None:
    _docker(path, "exit 0")
    assert runtime.choose({"RUNTIME": "native"}) == "native"


@pytest.mark.usefixtures("path")
def test_runtime_docker_without_docker_says_what_is_missing() -> None:
    with pytest.raises(ToolError, match=r"no docker command found.*RUNTIME=native"):
        runtime.choose({"RUNTIME": "docker"})


def test_an_unknown_runtime_names_the_known_ones() -> None:
    with pytest.raises(ToolError, match="RUNTIME=podman is unknown: RUNTIME=docker, RUNTIME=native"):
        runtime.choose({"RUNTIME": "podman"})


def test_a_taken_port_names_the_way_out() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ToolError, match=rf"Port {port} is taken.*`make dev API_PORT=8001`"):
            ports.require_free(port, "dev")
    ports.require_free(port, "dev")


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "8000.0", "８０００"])  # noqa: RUF001
def test_an_invalid_port_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="API_PORT="):
        ports.api_port({"API_PORT": text})


def test_an_invalid_port_is_named_before_compose_rejects_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _docker(path, "exit 1")
    monkeypatch.setenv("API_PORT", "99999")
    with pytest.raises(ToolError, match="API_PORT=99999 is not a port"):
        docker.Compose("dev")


def test_the_port_is_8000_unless_set() -> None:
    assert ports.api_port({}) == ports.api_port({"API_PORT": ""}) == 8000
    assert ports.api_port({"API_PORT": "8001"}) == 8001
