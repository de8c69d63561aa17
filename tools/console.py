"""What the tools say to the person in front of them."""

import os
import re
import shlex
import sys
from typing import NamedTuple, TextIO

WITHOUT_MAKE = "CALLED_WITHOUT_MAKE"
"""A variable that `tools` sets if it was called directly, for its own processes."""


class ToolError(Exception):
    """A problem that the reader can solve: one plain sentence, shown without a traceback."""


class Problem(NamedTuple):
    """What `make doctor` has found; the level is FIX, which is a failure, note or ok."""

    text: str
    fix: str = ""
    level: str = "FIX"


def arguments() -> list[str]:
    """What the variable ARGS holds for another program, split as a shell does it.

    Raises:
        ToolError: it can't be split.
    """
    try:
        return shlex.split(os.environ.get("ARGS", ""))
    except ValueError as error:
        raise ToolError(f"ARGS can't be read ({error}): {os.environ['ARGS']}") from None


def has_colors() -> bool:
    """Whether standard output is a terminal whose user has not asked for no color (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line at once, also into a pipe, and in one piece, whichever threads print at the same time.

    A command such as `make dev` is named as it was called: without make, that is `python -m tools dev`.
    """
    if WITHOUT_MAKE in os.environ:
        text = re.sub(r"`make\b(?: -s)?", "`python -m tools", text)
    stream = stream or sys.stdout
    stream.write(f"{text}\n")  # print() writes the line break separately
    stream.flush()
