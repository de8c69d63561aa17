"""Why the code on disk does not run: left by the supervisor where its generations can read it."""

import contextlib
import os
from pathlib import Path

VARIABLE = "RELOAD_PROBLEM_FILE"


def offer(folder: str) -> Path:
    """Name the file in the environment of all processes that are started from now on."""
    path = Path(folder, "problem")
    os.environ[VARIABLE] = str(path)
    return path


def current() -> str | None:
    """File, line and reason for which newer code was not loaded; None if there is no such thing."""
    with contextlib.suppress(OSError):
        return Path(os.environ.get(VARIABLE, "")).read_text() or None
    return None
