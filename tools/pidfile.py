"""The native stack's pid, in a file that is locked for as long as that process lives."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from tools.console import ToolError
from tools.project import DATA

if sys.platform != "win32":  # where nothing runs natively
    import fcntl

_PID_FILE = DATA / "native.pid"
_SETTINGS = DATA / "native.json"


@contextmanager
def only_one_deployment() -> Iterator[None]:
    """Keep other commands that replace production from doing so at the same time.

    Raises:
        ToolError: one of them does it now.
    """
    with (DATA / "deployment.lock").open("ab") as file:
        _lock(file, "Another deployment is under way here: wait for its end, and try again.")
        yield


@contextmanager
def only_one() -> Iterator[None]:
    """Register this process as the only one that runs the native stack.

    Raises:
        ToolError: another process already does.
    """
    with _PID_FILE.open("a+") as file:
        _lock(file, "The stack already runs here: stop it with `make down`.")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(file: IO[Any], problem: str) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ToolError(problem) from None


def running_pid() -> int | None:
    """The process that runs the native stack, None if none does."""
    if sys.platform == "win32" or not _PID_FILE.is_file():
        return None
    with _PID_FILE.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
    return None


def note_settings(settings: Mapping[str, str]) -> None:
    """Write down settings by which other commands find what this process runs; they must not be secret."""
    _SETTINGS.write_text(json.dumps(settings))


def running_settings() -> dict[str, str]:
    """The settings of the native stack that runs, empty if none does."""
    if not running_pid() or not _SETTINGS.is_file():
        return {}
    settings: dict[str, str] = json.loads(_SETTINGS.read_text())
    return settings
