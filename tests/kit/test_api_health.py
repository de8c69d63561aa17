"""The API's health check, as Compose runs it, notices that a real Gunicorn hangs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
import yaml  # type: ignore[import-untyped]

from tests.conftest import ROOT, wait_until
from tools.ports import free_port

CHECK = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["fastapi"]["healthcheck"][
    "test"
]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def gunicorn(environment: dict[str, str], port: int, tmp_path: Path) -> Iterator[psutil.Process]:
    """Gunicorn with one worker, which counts as hung after eight seconds: later than a check gives up."""
    options = ["--workers", "1", "--timeout", "8", "--bind", f"127.0.0.1:{port}"]
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *options]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
    yield psutil.Process(process.pid)
    process.terminate()
    assert process.wait(30) == 0


def is_healthy(port: int) -> bool:
    command = [part.replace(":8000", f":{port}") for part in CHECK[1:]]
    command[0] = sys.executable
    return subprocess.run(command, capture_output=True, env=os.environ, check=False).returncode == 0


def accepts(port: int) -> bool:
    """Whether a worker answers, which costs less than the check."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/live", timeout=1):
            return True
    except OSError:
        return False


@pytest.mark.slow  # it waits until Gunicorn notices
def test_a_hung_api_is_unhealthy_and_gunicorn_replaces_it(gunicorn: psutil.Process, port: int) -> None:
    wait_until(lambda: accepts(port), what="an answer")
    assert is_healthy(port)
    (worker,) = gunicorn.children()
    worker.send_signal(signal.SIGSTOP)
    assert not is_healthy(port)
    wait_until(lambda: not worker.is_running(), what="the end of the hung worker")
    wait_until(lambda: accepts(port), what="an answer of the next worker")
    assert is_healthy(port)
