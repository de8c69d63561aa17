"""The records of a CSV file, read from a stream of bytes in flat memory, whatever the bytes are.

Lines and cells are cut on the bytes themselves, here held as Latin-1 text, one character a byte: line ends,
quotes and delimiters are the same in every encoding that an import accepts. So the number of records never
depends on the encoding, and one pass can count them while it still finds out which encoding it is.
"""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

BLOCK_BYTES = 32 * 1024
"""Bytes that are looked at together."""

MAX_RECORD_BYTES = 64 * 1024
"""Longest line, and longest record of several lines."""

MAX_RECORD_LINES = 100
"""Lines that one record may span by line breaks inside quotes."""

BLANKS = " \t\v\f"
"""A line of nothing but these is blank, unless one of them is the delimiter."""

OPEN_QUOTE = "a quote is opened and never closed"
LONG_LINE = f"the line is longer than {MAX_RECORD_BYTES // 1024} KiB"


class Line(NamedTuple):
    """A physical line without its line end."""

    number: int
    """Counted from 1."""
    text: str | None
    """None: it is longer than `MAX_RECORD_BYTES`, and was not kept."""


class Record(NamedTuple):
    """One row of cells, as bytes in Latin-1 text; or the reason why the line has none."""

    line: int
    cells: list[str]
    problem: str | None = None


def blocks_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut chunks of any size anew into blocks of `BLOCK_BYTES`; only the last one may be shorter."""
    block = bytearray()
    for chunk in chunks:
        start = 0
        while start < len(chunk):
            end = start + BLOCK_BYTES - len(block)
            block += chunk[start:end]
            start = end
            if len(block) == BLOCK_BYTES:
                yield bytes(block)
                block.clear()
    if block:
        yield bytes(block)


def lines_of(blocks: Iterable[bytes]) -> Iterator[Line]:
    """Split blocks at CRLF, LF or a lone CR; a line that is too long is told at once and then skipped.

    Line ends are not kept: line breaks inside quotes come out as LF, so that a file means the same with any.
    """
    number = 1
    rest, held, skipping = "", "", False  # the unfinished line; its CR, if that may be half of a CRLF
    for block in blocks:
        text = rest + held + block.decode("latin-1")
        held = "\r" if text.endswith("\r") else ""
        lines = text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest = lines.pop()
        for line in lines:
            if not skipping:
                yield Line(number, line if len(line) <= MAX_RECORD_BYTES else None)
            skipping = False
            number += 1
        if len(rest) > MAX_RECORD_BYTES and not skipping:
            yield Line(number, None)
            skipping = True
        if skipping:
            rest = ""
    if rest:
        yield Line(number, rest)


class RecordReader:
    """Reads records as Python's `csv` does, and lives on after what `csv` cannot bring to an end.

    A quote still open after `MAX_RECORD_LINES` or `MAX_RECORD_BYTES` costs the line on which it stands, and
    reading resumes on the next line. The same holds for a record of several lines in which something else
    than a delimiter follows a closing quote: that quote opens a cell of a later row.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._lines = lines_of(blocks)
        self._ahead: deque[Line] = deque()
        self._searched_in_vain = range(0)  # numbers of lines

    def skip_while(self, skipped: Callable[[str], bool]) -> None:
        """Pass over the lines at hand for as long as `skipped` says so."""
        while line := self._take():
            if line.text is None or not skipped(line.text):
                self._put_back(line)
                return

    def peek(self, delimiter: str) -> Record | None:
        """The record that starts on the next line, without moving on; None at the end of the file."""
        if (line := self._take()) is None:
            return None
        record, following = self._parse(line, delimiter)
        self._put_back(line, *following)
        return record

    def records(self, delimiter: str) -> Iterator[Record]:
        """All records from here on, without the blank lines between them."""
        self._searched_in_vain = range(0)
        while line := self._take():
            record, _ = self._parse(line, delimiter)
            if len(record.cells) == 1 and line.text is not None and not line.text.strip(BLANKS):
                continue
            yield record

    def _take(self) -> Line | None:
        return self._ahead.popleft() if self._ahead else next(self._lines, None)

    def _put_back(self, *lines: Line) -> None:
        self._ahead.extendleft(reversed(lines))

    def _parse(self, line: Line, delimiter: str) -> tuple[Record, list[Line]]:
        """The record that starts on this line, and the lines taken to complete it."""
        number, text = line
        if text is None:
            return Record(number, [], LONG_LINE), []
        if '"' not in text:
            return Record(number, text.split(delimiter)), []
        # Lines hold no line break: where the last cell ends with ours, its quote is still open.
        cells = next(csv.reader((text + "\n",), delimiter=delimiter))
        if not cells[-1].endswith("\n"):
            return Record(number, cells), []
        if number in self._searched_in_vain:
            return Record(number, [], OPEN_QUOTE), []
        return self._parse_lines(number, text, delimiter)

    def _parse_lines(self, number: int, text: str, delimiter: str) -> tuple[Record, list[Line]]:
        taken: list[Line] = []
        try:
            cells = next(csv.reader(self._while_one_record(text, taken), delimiter=delimiter, strict=True))
        except csv.Error:
            if taken:  # All lines but the last one keep a quote open: those need no search of their own.
                self._searched_in_vain = range(number + 1, taken[-1].number)
            self._put_back(*taken)
            return Record(number, [], OPEN_QUOTE), []
        return Record(number, cells), taken

    def _while_one_record(self, text: str, taken: list[Line]) -> Iterator[str]:
        """This line and the ones that follow, for as long as they may belong to one record."""
        yield text + "\n"
        size = len(text)
        while len(taken) < MAX_RECORD_LINES - 1 and (line := self._take()):
            taken.append(line)
            if line.text is None or (size := size + 1 + len(line.text)) > MAX_RECORD_BYTES:
                return
            yield line.text + "\n"
