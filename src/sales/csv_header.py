"""What a file is and how its table is laid out: encoding, delimiter, columns; or why it cannot be read."""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from src.sales.csv_records import BLANKS, Record, RecordReader
from src.sales.csv_values import shown

COLUMNS = {
    "InvoiceNo": ("InvoiceNo", "Invoice"),
    "StockCode": ("StockCode",),
    "Description": ("Description",),
    "Quantity": ("Quantity",),
    "InvoiceDate": ("InvoiceDate",),
    "UnitPrice": ("UnitPrice", "Price"),
    "CustomerID": ("CustomerID",),
    "Country": ("Country",),
}
"""Columns of a sales file, each with the names it goes by; case, spaces and underscores don't matter."""

OPTIONAL_COLUMNS = frozenset({"Description", "CustomerID"})
"""Columns that a file may lack, and that may be empty in a row."""

DELIMITERS = ",;\t"
"""What may stand between the cells; the header tells which one does."""

TEXT_PROBE_BYTES = 8 * 1024
"""A NUL byte among so many first bytes says that the file isn't text."""

_SAVE_AS_CSV = "save it as CSV (comma separated) and upload that."
_BINARY = {
    b"PK\x03\x04": f"This is an Excel workbook or another ZIP archive; open it, {_SAVE_AS_CSV}",
    b"\xd0\xcf\x11\xe0": f"This is an Excel workbook in the old format; open it, {_SAVE_AS_CSV}",
    b"%PDF": "This is a PDF document; export the table as CSV and upload that.",
    b"\x1f\x8b": "This is a gzip archive; unpack it and upload the CSV file inside.",
    b"\x89PNG": "This is a PNG image; upload the table as CSV.",
    codecs.BOM_UTF16_LE: "This is UTF-16 text; save it as CSV in UTF-8 and upload that.",
    codecs.BOM_UTF16_BE: "This is UTF-16 text; save it as CSV in UTF-8 and upload that.",
}
_LONGEST_NAME = 60
_SEPARATOR_LINE = re.compile(r'"?sep=.?"?[ \t]*', re.IGNORECASE)
_ALIASES = {alias.casefold(): column for column, aliases in COLUMNS.items() for alias in aliases}
_REQUIRED = tuple(column for column in COLUMNS if column not in OPTIONAL_COLUMNS)


class UnreadableFile(Exception):  # noqa: N818 - a state of the file, not a fault of ours
    """No row of the file can be read; the text is one sentence that says why, and what to do."""


class Header(NamedTuple):
    """How the table is laid out."""

    delimiter: str
    names: list[str]
    """All columns as the file spells them, in its order."""
    places: dict[str, int]
    """Of the columns in `COLUMNS` that the file has: where they stand in `names`."""


class EncodingCheck:
    """Finds out the encoding of a file while something else reads it."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_utf8 = True
        self._is_marked = False

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the blocks of a file on as they are."""
        for number, block in enumerate(blocks):
            if number == 0:
                self._is_marked = block.startswith(codecs.BOM_UTF8)
            self._check(block)
            yield block
        self._check(b"", final=True)

    def _check(self, block: bytes, *, final: bool = False) -> None:
        if self._is_utf8:
            try:
                self._decoder.decode(block, final)
            except UnicodeDecodeError:
                self._is_utf8 = False

    @property
    def encoding(self) -> str:
        """UTF-8 if all that passed by is valid, or if the file says it is by a byte order mark."""
        return "utf-8" if self._is_utf8 or self._is_marked else "cp1252"


def text_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Pass the blocks of a file on without the byte order mark.

    Raises:
        UnreadableFile: the file is no text.
    """
    for number, block in enumerate(blocks):
        if number == 0:
            _refuse_binary(block[:TEXT_PROBE_BYTES])
            yield block.removeprefix(codecs.BOM_UTF8)
        else:
            yield block


def _refuse_binary(start: bytes) -> None:
    for signature, sentence in _BINARY.items():
        if start.startswith(signature):
            raise UnreadableFile(sentence)
    # UTF-16 without a mark: of Western text, every other byte is NUL.
    if b"\0" in start and any(start[0:64:2]) != any(start[1:64:2]):
        raise UnreadableFile(_BINARY[codecs.BOM_UTF16_LE])
    if b"\0" in start:
        raise UnreadableFile("This is a binary file, not text; save the table as CSV and upload that.")


def read_header(reader: RecordReader) -> Header:
    """Move the reader past the header of the table.

    Raises:
        UnreadableFile: there is no header, or it lacks columns, or names one more than once.
    """
    reader.skip_while(_stands_before_header)
    found = [(delimiter, record) for delimiter in DELIMITERS if (record := reader.peek(delimiter))]
    if not found:
        raise UnreadableFile(
            "The file is empty or has only blank lines; "
            f"it needs a header with the columns {_listed(_REQUIRED)}, and rows below it."
        )
    delimiter, record = max(found, key=lambda candidate: len(set(_known_columns(candidate[1])) - {None}))
    if record.problem:
        raise UnreadableFile(f"The header cannot be read: {record.problem}; mend line {record.line}.")
    columns = _known_columns(record)
    _refuse_wrong_columns([column for column in columns if column])
    next(reader.records(delimiter))
    places = {column: place for place, column in enumerate(columns) if column}
    return Header(delimiter, [shown(_decoded(cell), _LONGEST_NAME) for cell in record.cells], places)


def _stands_before_header(line: str) -> bool:
    """Blank lines, rows left empty, and the line by which Excel tells the delimiter."""
    return not line.strip(BLANKS + DELIMITERS) or _SEPARATOR_LINE.fullmatch(line) is not None


def _known_columns(record: Record) -> list[str | None]:
    """Which column of `COLUMNS` each cell of a header names."""
    return [_ALIASES.get(_normalised(_decoded(cell))) for cell in record.cells]


def _refuse_wrong_columns(columns: list[str]) -> None:
    if not columns:
        raise UnreadableFile(
            f"The file has no header; its first line must name the columns {_listed(_REQUIRED)}, "
            "with commas, semicolons or tabs between them."
        )
    if missing := [column for column in _REQUIRED if column not in columns]:
        one = len(missing) == 1
        raise UnreadableFile(
            f"The file has no column{'' if one else 's'} {_listed(missing)}; "
            f"add {'it' if one else 'them'} to the header and to every row."
        )
    for column in columns:
        if columns.count(column) > 1:
            names = " or ".join(COLUMNS[column])
            raise UnreadableFile(f"The header names the column {names} more than once; keep one of them.")


def _normalised(name: str) -> str:
    return "".join(name.split()).replace("_", "").casefold()


def _decoded(cell: str) -> str:
    """A cell of the header, whose encoding is not known yet while the file is read for the first time."""
    raw = cell.encode("latin-1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
