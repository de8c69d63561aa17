"""A client without a key is refused before its request body is read, by real servers."""

import http.client
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT, wait_until
from tools.ports import free_port

KEY = secrets.token_hex(16)


@pytest.fixture(scope="module", params=["uvicorn", "gunicorn"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server that asks for a key; it has no Redis and no tables."""
    port, folder = free_port(), tmp_path_factory.mktemp("server")
    if request.param == "uvicorn":
        command = ["uvicorn", "src.main:app", "--port", str(port)]
    else:
        command = ["gunicorn", "-c", "gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    environment = {
        "API_KEYS": KEY,
        "DATABASE_URL": f"sqlite:///{folder / 'app.db'}",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "WEB_CONCURRENCY": "1",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=os.environ | environment,
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until(lambda: answers(port), 30, f"the server: {log}")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        return exchange(port, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(
            b"HTTP/1.1 200"
        )
    except OSError:
        return False


def exchange(port: int, request: bytes) -> bytes:
    """Send the head of a request, and return what comes back first."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


@pytest.mark.parametrize("path", ["/api/v1/nowhere", "/"])
def test_the_answer_comes_before_the_body(port: int, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n".encode()
    assert exchange(port, head).startswith(b"HTTP/1.1 401 ")


def test_a_client_that_sends_a_lot_reads_the_401(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/nowhere", body=bytes(20_000_000))
    assert connection.getresponse().status == 401
