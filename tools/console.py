"""What the tools say to the person in front of them."""

import sys


class ToolError(Exception):
    """A problem that the reader can solve: one plain sentence, shown without a traceback."""


def say(line: str) -> None:
    """Print a line at once, also into a pipe, and in one piece, whichever threads print at the same time."""
    sys.stdout.write(f"{line}\n")  # print() writes the line break separately
    sys.stdout.flush()
