"""Tables and paragraphs of the guide."""

import textwrap
from collections.abc import Iterable


def table(heads: str, rows: Iterable[str]) -> str:
    """A table of rows whose cells are separated by `|`; all columns but the first are numbers."""
    line = "|" + " --- |" + " ---: |" * heads.count("|")
    return "\n".join([f"| {heads} |", line, *(f"| {row} |" for row in rows)])


def named(name: str, *, is_ours: bool) -> str:
    """A name, in bold if it is ours."""
    return f"**{name}**" if is_ours else name


def ms(seconds: float) -> str:
    """Seconds as milliseconds."""
    milliseconds = 1000 * seconds
    return f"{milliseconds:,.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def cell(text: str) -> str:
    """Any text, so that it stays in its cell."""
    return text.replace("|", "/").replace("\n", " ")


def wrapped(text: str, *, indent: int = 0) -> str:
    """A paragraph of at most 120 columns, whose lines after the first are indented by so many spaces."""
    return textwrap.fill(text, 120 - indent).replace("\n", "\n" + " " * indent)
