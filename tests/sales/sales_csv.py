"""Sales files in memory, for the tests of the importer."""

from collections.abc import Iterator

from src.sales.importer import RejectedRow, SalesFile, SalesRow

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
COLUMNS = tuple(HEADER.split(","))
ROW = "536365,85123A,WHITE HANGING HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom"


def sales_file(content: str | bytes, chunk_size: int = 1 << 20) -> SalesFile:
    """A file with this content (text becomes UTF-8), read in chunks of this size."""
    data = content.encode() if isinstance(content, str) else content

    def open_chunks() -> Iterator[bytes]:
        return (data[start : start + chunk_size] for start in range(0, len(data), chunk_size))

    return SalesFile(open_chunks)


def read(content: str | bytes) -> list[SalesRow | RejectedRow]:
    """All rows of a file, after a look that they are as many as counted."""
    file = sales_file(content)
    rows = list(file.rows())
    assert file.count_rows() == len(rows)
    return rows


def accepted(content: str | bytes) -> list[SalesRow]:
    """All rows of a file none of whose rows is rejected."""
    rows = read(content)
    assert [row for row in rows if isinstance(row, RejectedRow)] == []
    return [row for row in rows if isinstance(row, SalesRow)]


def row_with(**cells: str) -> str:
    """A row under `HEADER`, with these cells in place of good ones."""
    good = dict(zip(COLUMNS, ROW.split(","), strict=True))
    return ",".join((good | cells).values())


def accept_row(**cells: str) -> SalesRow:
    """The one row of a file with these cells."""
    (row,) = accepted(f"{HEADER}\n{row_with(**cells)}\n")
    return row


def reject_row(**cells: str) -> tuple[str | None, str]:
    """Column and reason for which the one row of a file with these cells is rejected."""
    (row,) = read(f"{HEADER}\n{row_with(**cells)}\n")
    assert isinstance(row, RejectedRow)
    return row.column, row.reason
