"""The secrets, each a file in `secrets/`: made at random where one is missing, never overwritten."""

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from tools.console import ToolError

POSTGRES, REDIS, API_KEYS = NAMES = ("postgres_password", "redis_password", "api_keys")


def create_missing(folder: Path) -> list[str]:
    """Make the files that are missing; return their names.

    The folder is closed to other users. The files can be read by everybody who gets at them, since Compose
    mounts them as they are into containers whose users are others; their owner can add a key.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    made = []
    for name in NAMES:
        try:
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(descriptor, 0o644)
            file.write(secrets.token_hex(32) + "\n")
        made.append(name)
    return made


def api_key(folder: Path) -> str:
    """The first API key.

    Raises:
        ToolError: there is none.
    """
    file = folder / API_KEYS
    try:
        return file.read_text("utf-8").replace(",", " ").split()[0]
    except (OSError, IndexError):
        raise ToolError("There is no API key yet: `make prod` makes one in secrets/api_keys.") from None


def digest(folder: Path, names: Iterable[str]) -> str:
    """A short name for the content of some files: another one where a secret is another."""
    content = b"\0".join((folder / name).read_bytes() for name in sorted(names))
    return hashlib.sha256(content).hexdigest()[:12]
