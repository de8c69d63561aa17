"""Why the code on disk does not run: the supervisor leaves the reason where its generations can read it."""

import contextlib
import os
from pathlib import Path

VARIABLE = "RELOAD_PROBLEM_FILE"


def offer(folder: str) -> Path:
    """Choose the file for the reason, and name it in the environment of all processes started from now on."""
    path = Path(folder, "problem")
    os.environ[VARIABLE] = str(path)
    return path


def current() -> str | None:
    """File, line and reason why newer code could not be loaded; None if there is no such problem."""
    with contextlib.suppress(OSError):
        return Path(os.environ.get(VARIABLE, "")).read_text() or None
    return None
