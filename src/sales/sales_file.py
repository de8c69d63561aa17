"""Reads a CSV file of sales in flat memory: encoding, delimiter and header, then row after row."""

import codecs
import csv
import io
import itertools
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from src.sales.rows import SalesRow, reason_for, shown
from src.sales.schemas import RowError

DELIMITERS = ",;\t"
MAX_LINE = 64 * 1024  # characters
HEADER_LINES = 1_000  # at the beginning, of which one names the columns
MAX_RECORD_LINES = 100  # of a row that has line breaks in quoted cells

_REQUIRED = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "Country")
_FIELDS = {field.replace("_", ""): field for field in SalesRow.model_fields if field != "line"}
_FIELDS |= {"invoiceno": "invoice", "invoicedate": "invoiced_at", "price": "unit_price"}
_SIGNATURES = {
    b"PK\x03\x04": "an Excel workbook or another ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook in the old format",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a PNG image",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


class UnreadableFile(Exception):  # noqa: N818  (a fact about the file, not an error of ours)
    """The file can't be imported; the message is a sentence that says why and how to fix it."""


class SalesFile:
    """A CSV file of sales: comma, semicolon or tab; UTF-8 or Windows-1252; columns in any order.

    All of it raises UnreadableFile. `open_chunks` starts reading the bytes of the file from the beginning.
    """

    def __init__(self, open_chunks: Callable[[], Iterator[bytes]]) -> None:
        self._open_chunks = open_chunks
        self._encoding = _encoding_of(open_chunks())
        start = itertools.islice(self._lines(), HEADER_LINES)
        header = next((line for line in start if any(char in line for char in DELIMITERS)), "")
        self._delimiter = max(DELIMITERS, key=header.count)

    def count_rows(self, limit: int) -> int:
        """Count the rows, including those that `rows` rejects; more than `limit` make the file unreadable."""
        lines = 0
        for chunk in self._open_chunks():  # takes no time, and finds blank lines, too
            lines += max(chunk.count(b"\n"), chunk.count(b"\r"))
            if lines > limit + 2:  # the header, and perhaps sep=
                break
        else:
            if (count := sum(1 for _ in self._open_table()[1])) <= limit:
                return count
        stopped = f"reading stopped at line {lines:,}, and no row was stored"
        raise UnreadableFile(
            f"It has more than {limit:,} rows: {stopped}. Split it, or raise SALES_MAX_ROWS."
        )

    def rows(self) -> Iterator[SalesRow | RowError]:
        """Read the rows one by one; in place of a row that can't be used comes the reason."""
        names, records = self._open_table()
        fields = [_field_of(name) or "" for name in names]
        needed = max(place for place, field in enumerate(fields, 1) if field)
        context = {"decimal_comma": self._delimiter != ","}
        for line, cells in records:
            if len(cells) < needed or any(map(str.strip, cells[len(names) :])):
                column = shown(names[len(cells)]) if len(cells) < needed else None
                reason = f"the row has {len(cells)} cells, the header {len(names)}"
                yield RowError(line=line, column=column, reason=reason)
                continue
            try:
                yield SalesRow.model_validate({**dict(zip(fields, cells)), "line": line}, context=context)  # noqa: B905
            except ValidationError as error:
                field, reason = reason_for(error)
                yield RowError(line=line, column=shown(names[fields.index(field)]), reason=reason)

    def _open_table(self) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        """The names in the header, and the rows below it."""
        records = _records(self._lines(), self._delimiter)
        for _, cells in records:
            # Excel may name the delimiter in a line of its own before the header: sep=;
            if "".join(cells).strip(" \v\f" + DELIMITERS) and not cells[0].lower().startswith("sep="):
                _check_header(cells)
                return cells, records
        raise UnreadableFile(f"The file is empty; it needs the columns {', '.join(_REQUIRED)}, and rows.")

    def _lines(self) -> Iterator[str]:
        """The lines of the file with their ends; pieces of those that are longer than `MAX_LINE`."""
        rest = ""
        for text in codecs.iterdecode(self._open_chunks(), self._encoding, "surrogateescape"):
            *lines, rest = io.StringIO(rest + text, newline="").readlines() or [""]
            yield from lines
            if len(rest) > MAX_LINE + 2:
                yield rest
                rest = ""
        if rest:
            yield rest


def _encoding_of(chunks: Iterator[bytes]) -> str:
    """UTF-8 if all of the file is valid or it begins with a byte order mark, otherwise Windows-1252."""
    start = next(chunks, b"")
    kind = next((kind for signature, kind in _SIGNATURES.items() if start.startswith(signature)), None)
    if not kind and b"\0" in start[:8192]:
        # In UTF-16, every other byte of Western text is NUL.
        kind = "UTF-16 text" if any(start[0:64:2]) != any(start[1:64:2]) else "a binary file"
    if kind:
        raise UnreadableFile(f"This is {kind}; save the table as CSV in UTF-8, and upload that.")
    if start.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    try:
        for _ in codecs.iterdecode(itertools.chain([start], chunks), "utf-8"):
            pass
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that isn't blank, with the number of the line it begins on."""
    number, record = 0, list[str]()  # record: the lines of the row that is being read

    def read() -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(lines, 1):
            if len(line.rstrip("\r\n")) > MAX_LINE:
                raise UnreadableFile(f"Line {number} is longer than 64 KiB; shorten or remove it.")
            record.append(line.rstrip("\r\n") + "\n")
            if len(record) > MAX_RECORD_LINES:
                raise csv.Error
            yield record[-1]
        if record:  # the reader still waits for the end of a cell
            raise csv.Error

    try:
        for cells in csv.reader(read(), delimiter=delimiter):
            if len(record) > 1:
                # A quote left open ends at one of a later row: the strict reader rejects what follows.
                next(csv.reader(record, delimiter=delimiter, strict=True))
            if len(cells) > 1 or (cells and cells[0].strip()):
                yield number - len(record) + 1, cells
            record.clear()
    except csv.Error:
        line = number - len(record) + 1
        raise UnreadableFile(f"In line {line}, a quote is opened and never closed; close it.") from None


def _field_of(name: str) -> str | None:
    """The field of a column; case, spaces and underscores in its name don't matter."""
    return _FIELDS.get("".join(name.split()).replace("_", "").lower())


def _check_header(names: list[str]) -> None:
    fields = [field for field in map(_field_of, names) if field]
    if missing := [name for name in _REQUIRED if _field_of(name) not in fields]:
        raise UnreadableFile(
            f"The first line does not name the column {', '.join(missing)}; it must name every column, "
            "separated by commas, semicolons or tabs."
        )
    for name in names:
        if fields.count(_field_of(name) or "") > 1:
            raise UnreadableFile(f"The header has the column {shown(name)} more than once; keep one of them.")
