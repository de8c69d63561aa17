"""What the tools say to the person in front of them."""


class ToolError(Exception):
    """A mistake or a lack that its reader can mend: one plain sentence, shown without a traceback."""


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)
