"""The secrets, each a file in `secrets/`: random, made where one is missing, never overwritten."""

import hashlib
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tools.console import ToolError

POSTGRES, REDIS, API_KEYS = NAMES = ("postgres_password", "redis_password", "api_keys")


def create_missing(folder: Path) -> list[str]:
    """Make the files that are missing; return their names.

    The folder is closed to other users. The service `secrets` in docker-compose.yml makes the same.
    """
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    made = []
    for name in NAMES:
        with suppress(FileExistsError), (folder / name).open("x", encoding="ascii", newline="\n") as file:
            (folder / name).chmod(0o644)
            file.write(secrets.token_hex(32) + "\n")
            made.append(name)
    return made


def api_key(folder: Path) -> str:
    """The first API key, without its name and scope.

    Raises:
        ToolError: there is none.
    """
    file = folder / API_KEYS
    try:
        return file.read_text("utf-8").replace(",", " ").split()[0].rpartition(":")[2]
    except (OSError, IndexError):
        raise ToolError("There is no API key yet: `make prod` makes one in secrets/api_keys.") from None


def names(folder: Path) -> list[str]:
    """The names of all secrets, also those of your own, sorted."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def digest(folder: Path, names: Iterable[str]) -> str:
    """A short name for the content of some files, which changes with a secret."""
    content = b"\0".join((folder / name).read_bytes() for name in sorted(names))
    return hashlib.sha256(content).hexdigest()[:12]
