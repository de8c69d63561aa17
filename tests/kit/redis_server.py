"""A Redis for a test or a measurement."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.console import ToolError
from tools.ports import free_port
from tools.redis_binary import redis_command


@contextmanager
def running_redis(directory: Path, *, deadline: float = 10) -> Iterator[str]:
    """Run a Redis with its data in `directory`, on a free port; the value is its URL.

    Args:
        directory: must be there.
        deadline: seconds within which it must answer.

    Raises:
        ToolError: there is none, or it does not answer; its log is `redis.log` in `directory`.
    """
    port = free_port()
    with (directory / "redis.log").open("wb") as log:
        process = subprocess.Popen(redis_command(port), cwd=directory, stdout=log, stderr=log)
    try:
        _wait_for_answer(port, process, time.monotonic() + deadline)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _wait_for_answer(port: int, process: "subprocess.Popen[bytes]", end: float) -> None:
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.02)
    raise ToolError("Redis was started but does not answer; its redis.log says why.")
