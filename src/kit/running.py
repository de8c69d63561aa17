"""The code that this process runs, and whether there is other code on disk."""

import traceback
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, Field

from src.kit.settings import get_settings
from src.reload.fingerprint import fingerprint, loaded_fingerprint
from src.reload.report import current_problem

SRC = Path(__file__).resolve().parents[1]


class RunningCode(NamedTuple):
    """The code that this process has loaded."""

    code: str
    """Fingerprint of all `.py` files in `src` when they were loaded."""
    loaded_at: datetime


class CodeOnDisk(BaseModel):
    """Code on disk that this process does not run."""

    code: str = Field(description="Fingerprint of the code on disk.", examples=["c0ffee123456"])
    problem: str | None = Field(
        description="Why it can't be loaded, with file and line; null while it is being loaded.",
        examples=["src/main.py:12: SyntaxError: invalid syntax"],
    )


@lru_cache
def running_code() -> RunningCode:
    """The code of this process. Call it as soon as the code is loaded: the first call takes the fingerprint.

    The import of this module would be too early: a reload may not import it again.
    """
    return RunningCode(loaded_fingerprint(SRC), datetime.now(UTC))


def newer_code() -> CodeOnDisk | None:
    """In development, the code on disk if it differs from the code that this process runs."""
    if get_settings().environment == "production" or (code := fingerprint(SRC)) == running_code().code:
        return None
    return CodeOnDisk(code=code, problem=current_problem())


def where_and_why(error: Exception) -> str:
    """File, line and reason of an error, such as that a template is wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(SRC)] or frames
    path = ours[-1].filename.removeprefix(f"{SRC.parent}/")
    return f"{path}:{ours[-1].lineno}: {type(error).__name__}: {error}"
