"""Which code this process runs, and whether newer code is on disk."""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from src.kit.settings import get_settings
from src.reload import problem
from src.reload.fingerprint import fingerprint

SRC = Path(__file__).resolve().parents[1]


class RunningCode(NamedTuple):
    """The code that a process has loaded."""

    code: str
    """Fingerprint of all `.py` files under `src`, as they were when it loaded them."""
    loaded_at: datetime


class CodeOnDisk(NamedTuple):
    """Code on disk that this process does not run."""

    code: str
    """Fingerprint of the code."""
    problem: str | None
    """Why it does not run, with file and line; None while it is being loaded."""


@lru_cache
def running_code() -> RunningCode:
    """The code of this process. Call it as soon as the code is loaded: the first call takes the fingerprint.

    At import it would be too early: a reload need not import this module again.
    """
    return RunningCode(fingerprint(SRC), datetime.now(UTC))


def newer_code() -> CodeOnDisk | None:
    """In development, the code on disk if this process does not run it, whether it is loading or broken."""
    if get_settings().environment == "production" or (code := fingerprint(SRC)) == running_code().code:
        return None
    return CodeOnDisk(code, problem.current())
