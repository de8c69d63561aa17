"""A Redis for a test or a measurement."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kit.processes import start
from tools.console import ToolError
from tools.ports import free_port
from tools.redis_binary import redis_command


@contextmanager
def running_redis(directory: Path, *options: str, deadline: float = 10) -> Iterator[str]:
    """Run a Redis with its data in `directory`, on a free port; the value is its URL.

    Args:
        directory: must be there.
        options: more of its command line.
        deadline: seconds within which it must answer.

    Raises:
        ToolError: there is none, or it does not answer; its log is `redis.log` in `directory`.
    """
    port = free_port()
    with running([*redis_command(port), *options], port, directory, deadline):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def running(command: list[str], port: int, directory: Path, deadline: float) -> Iterator[None]:
    """Run a Redis or Sentinel that will listen on this port; its log is `redis.log` in `directory`."""
    process = start(command, directory / "redis.log", cwd=directory)
    try:
        _wait_for_answer(port, process, time.monotonic() + deadline)
        yield
    finally:
        process.kill()  # a Redis that is just writing a file ignores the first SIGTERM
        process.wait()


def _wait_for_answer(port: int, process: "subprocess.Popen[bytes]", end: float) -> None:
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith((b"+PONG", b"-NOAUTH")):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise ToolError("Redis was started but does not answer; its redis.log says why.")
