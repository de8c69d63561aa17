"""Sales files in memory, for the tests."""

from collections.abc import Iterator

from src.sales.rows import SalesRow
from src.sales.sales_file import SalesFile
from src.sales.schemas import RowError

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
COLUMNS = tuple(HEADER.split(","))
ROW = "536365,85123A,WHITE HANGING HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom"


def sales_file(content: str | bytes, chunk_size: int = 1 << 18) -> SalesFile:
    """A file with this content (text becomes UTF-8), read in chunks of this size."""
    data = content.encode() if isinstance(content, str) else content

    def open_chunks() -> Iterator[bytes]:
        return (data[start : start + chunk_size] for start in range(0, len(data), chunk_size))

    return SalesFile(open_chunks)


def read(content: str | bytes) -> list[SalesRow | RowError]:
    """All rows of a file, which are as many as were counted."""
    file = sales_file(content)
    rows = list(file.rows())
    assert file.count_rows(limit=10**6) == len(rows)
    return rows


def accepted(content: str | bytes) -> list[SalesRow]:
    """All rows of a file none of whose rows is rejected."""
    rows = read(content)
    assert [row for row in rows if isinstance(row, RowError)] == []
    return [row for row in rows if isinstance(row, SalesRow)]


def rejected(content: str | bytes) -> list[tuple[int, str | None, str]]:
    """Line, column and reason of each rejected row."""
    return [(row.line, row.column, row.reason) for row in read(content) if isinstance(row, RowError)]


def row_with(**cells: str) -> str:
    """A row under `HEADER`, with these cells in place of good ones, quoted where they need it."""
    good = dict(zip(COLUMNS, ROW.split(","), strict=True))
    quoted = {
        name: '"' + cell.replace('"', '""') + '"' if {*cell} & {*',"\n'} else cell
        for name, cell in cells.items()
    }
    return ",".join((good | quoted).values())
