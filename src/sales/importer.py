"""Reads the sales CSV files that people really have: row by row, in flat memory, each bad row with a reason.

Accepted are UTF-8 and Windows-1252; commas, semicolons or tabs; any line ends; columns in any order, by any
of their names; dates and numbers as the usual spreadsheets and exports spell them. Bytes become records in
`csv_records`, the header is read in `csv_header`, single cells in `csv_values`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from operator import itemgetter

from src.sales import csv_values as values
from src.sales.csv_header import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    EncodingCheck,
    Header,
    UnreadableFile,
    read_header,
    text_of,
)
from src.sales.csv_records import Record, RecordReader, blocks_of

__all__ = ["COLUMNS", "OPTIONAL_COLUMNS", "RejectedRow", "SalesFile", "SalesRow", "UnreadableFile"]

MAX_CODE = 64
"""Characters of an invoice number, a stock code and a customer's ID."""

MAX_COUNTRY = 100
"""Characters of a country."""

MAX_DESCRIPTION = 1000
"""Characters of a description."""


@dataclass(frozen=True, slots=True)
class SalesRow:
    """A line of an invoice."""

    line: int
    """Physical line of the file on which the row starts, from 1."""
    invoice: str
    """Starts with `C` for a cancellation."""
    stock_code: str
    description: str | None
    quantity: int
    """Negative for what came back."""
    invoiced_at: datetime
    """In the clock of the shop: without a time zone."""
    unit_price: Decimal
    """At most six decimals; may be zero or negative."""
    customer_id: str | None
    country: str


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be imported."""

    line: int
    """Physical line of the file on which the row starts, from 1."""
    column: str | None
    """The column to look at, as the header spells it; None: the row as a whole."""
    reason: str
    """What is wrong with it, in a few words: `'abc' is not a whole number`."""


class SalesFile:
    """A sales CSV, read afresh in every pass.

    Args:
        open_chunks: starts a new pass over the bytes of the file, in chunks of any size. What it raises
            while it is read gets through to the caller.
    """

    def __init__(self, open_chunks: Callable[[], Iterator[bytes]]) -> None:
        self._open_chunks = open_chunks
        self._encoding: str | None = None

    def count_rows(self) -> int:
        """Read the whole file once, and tell how many rows `rows` is going to give.

        Raises:
            UnreadableFile: the file is no text, or has no usable header.
        """
        encoding = EncodingCheck()
        _, records = _open_table(encoding.watch(blocks_of(self._open_chunks())))
        count = sum(1 for _ in records)
        self._encoding = encoding.encoding
        return count

    def rows(self) -> Iterator[SalesRow | RejectedRow]:
        """Read the file once more, row by row in its order; a file never counted is counted first.

        Raises:
            UnreadableFile: as `count_rows`, when the first row is asked for.
        """
        if self._encoding is None:
            self.count_rows()
        header, records = _open_table(blocks_of(self._open_chunks()))
        parser = _RowParser(header, self._encoding or "utf-8")
        yield from map(parser.parse, records)


def _open_table(blocks: Iterator[bytes]) -> tuple[Header, Iterator[Record]]:
    reader = RecordReader(text_of(blocks))
    header = read_header(reader)
    return header, reader.records(header.delimiter)


class _RowParser:
    """Turns the records of one file into rows."""

    def __init__(self, header: Header, encoding: str) -> None:
        self._header = header
        self._encoding = encoding
        self._decimal_comma = header.delimiter != ","
        self._width = len(header.names)
        # Spreadsheets leave delimiters behind the last column that has a name; a row may lack those cells.
        self._least_width = max(place for place, name in enumerate(header.names, 1) if name)
        # `parse` puts an empty cell last, for the columns that the file lacks.
        self._pick = itemgetter(*(header.places.get(column, -1) for column in COLUMNS))

    def parse(self, record: Record) -> SalesRow | RejectedRow:
        line, cells, problem = record
        if problem:
            return RejectedRow(line, None, problem)
        if not self._least_width <= len(cells) <= self._width:
            if len(cells) < self._least_width:
                reason = f"is missing: the row has {len(cells)} cells, the header {self._width}"
                return RejectedRow(line, self._header.names[len(cells)] or None, reason)
            if any(map(str.strip, cells[self._width :])):
                return RejectedRow(line, None, f"the row has {len(cells)} cells, the header {self._width}")
        everything = "".join(cells)
        if not everything.isascii():
            cells = [cell if cell.isascii() else self._decoded(cell) for cell in cells]
            everything = "".join(cells)
        if not everything.isprintable() and (rejected := self._check_text(line, cells)):
            return rejected
        return self._parse_cells(line, cells)

    def _decoded(self, cell: str) -> str:
        return cell.encode("latin-1").decode(self._encoding, "surrogateescape")

    def _check_text(self, line: int, cells: list[str]) -> RejectedRow | None:
        used = set(self._header.places.values())
        for place, cell in enumerate(cells):
            try:
                values.check_text(cell, used=place in used)
            except values.BadValueError as error:
                name = self._header.names[place] if place < self._width else None
                return RejectedRow(line, name or None, str(error))
        return None

    def _parse_cells(self, line: int, cells: list[str]) -> SalesRow | RejectedRow:
        invoice, stock_code, description, quantity, date, price, customer, country = map(
            str.strip, self._pick([*cells, ""])
        )
        column = "InvoiceNo"
        try:
            invoice = values.code(MAX_CODE, values.required(invoice))
            column = "StockCode"
            stock_code = values.code(MAX_CODE, values.required(stock_code))
            column = "Description"
            description = values.text_up_to(MAX_DESCRIPTION, description)
            column = "Quantity"
            number = values.quantity(values.required(quantity))
            column = "InvoiceDate"
            invoiced_at = values.date(values.required(date))
            column = "UnitPrice"
            unit_price = values.price(values.required(price), decimal_comma=self._decimal_comma)
            column = "CustomerID"
            customer = values.code(MAX_CODE, customer)
            column = "Country"
            country = values.text_up_to(MAX_COUNTRY, values.required(country))
            column = "Quantity"
            values.check_amount(number, unit_price)
        except values.BadValueError as error:
            return RejectedRow(line, self._header.names[self._header.places[column]], str(error))
        return SalesRow(
            line=line,
            invoice=invoice,
            stock_code=stock_code,
            description=description or None,
            quantity=number,
            invoiced_at=invoiced_at,
            unit_price=unit_price,
            customer_id=customer or None,
            country=country,
        )
