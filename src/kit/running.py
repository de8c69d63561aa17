"""The code that this process runs."""

import traceback
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from src.reload.fingerprint import loaded_fingerprint

SRC = Path(__file__).resolve().parents[1]


class RunningCode(NamedTuple):
    """The code that this process has loaded."""

    code: str
    """Fingerprint of the source in `src` when it was loaded."""
    loaded_at: datetime


@lru_cache
def running_code() -> RunningCode:
    """The code of this process. Call it as soon as the code is loaded: the first call takes the fingerprint.

    The import of this module would be too early: a reload may not import it again.
    """
    return RunningCode(loaded_fingerprint(SRC), datetime.now(UTC))


def where_and_why(error: Exception) -> str:
    """File, line and reason of an error, such as that a template is wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(SRC)] or frames
    path = ours[-1].filename.removeprefix(f"{SRC.parent}/")
    return f"{path}:{ours[-1].lineno}: {type(error).__name__}: {error}"
