"""What the tools say to the person in front of them."""

import sys


class ToolError(Exception):
    """A mistake or a lack that its reader can mend: one plain sentence, shown without a traceback."""


def say(line: str) -> None:
    """Print a line at once, also into a pipe, and in one piece, whichever threads print at the same time."""
    sys.stdout.write(f"{line}\n")  # print() writes the end of the line by itself
    sys.stdout.flush()
