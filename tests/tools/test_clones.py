"""Two clones on one machine: each keeps its own ports."""

import socket
import threading
from pathlib import Path

import pytest

from tools import clones, dotenv, project
from tools.console import ToolError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that has not been set up."""
    (tmp_path / "data" / "redis").mkdir(parents=True)
    (tmp_path / ".env.example").write_text("# The port.\nAPI_PORT=8000\n")
    monkeypatch.delenv("API_PORT", raising=False)
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(project, "DATA", tmp_path / "data")
    monkeypatch.setattr(project, "ENV_FILE", tmp_path / ".env")
    return tmp_path


def test_redis_keeps_its_port_unless_another_program_has_taken_it() -> None:
    port = clones.redis_port()
    assert clones.redis_port() == port
    with socket.create_server(("127.0.0.1", port)):
        other = clones.redis_port()
    assert other != port
    assert clones.redis_port() == other


def test_a_port_that_is_not_a_clones_is_an_error_that_says_what_to_do(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        threading.Thread(target=lambda: foreign.accept()[0].close()).start()
        with pytest.raises(ToolError, match=rf"Port {port} is taken by another program: .*make dev"):
            clones.api_port({"API_PORT": str(port)}, "dev")
    assert not (root / ".env").exists()


def test_a_variable_is_kept_in_its_line_or_a_new_one(root: Path) -> None:
    file = root / ".env"
    file.write_text("# API_PORT=1\nAPI_PORT=2 # mine\nLAST=x")
    dotenv.write(file, "API_PORT", "8001")
    dotenv.write(file, "NEW", "y")
    assert file.read_text() == "# API_PORT=1\nAPI_PORT=8001\nLAST=x\nNEW=y\n"
