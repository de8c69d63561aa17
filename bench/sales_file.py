"""Files of sales, as large as wanted: the sample again and again, each time with new invoice numbers."""

import os
from itertools import count, islice
from pathlib import Path

SAMPLE = "online_retail_10k.csv"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def write(path: Path, rows: int, number: int) -> None:
    """Write a file.

    Args:
        path: where to.
        rows: how many it has.
        number: of the file; another one has other invoices.
    """
    header, lines = _sample()
    with path.open("w") as file:
        file.write(header)
        for copy in count(1000 * number):
            wanted = min(rows, len(lines))
            file.writelines(f"{copy}-{line}" for line in islice(lines, wanted))
            rows -= wanted
            if not rows:
                return


def _sample() -> tuple[str, list[str]]:
    """Header and lines of the sample that SALES_DATA_DIR holds, else of one made like it."""
    if folder := os.environ.get("SALES_DATA_DIR"):
        header, *lines = (Path(folder) / SAMPLE).read_text().splitlines(keepends=True)
        return header, lines
    return HEADER, [_line(number) for number in range(10_000)]


def _line(number: int) -> str:
    invoice, product, day = number // 20, number * 7919 % 2015, number // 2500 + 1
    country = "United Kingdom" if invoice % 10 else f"Country {invoice // 10 % 15}"
    price = f"{number % 900 / 100 + 0.5:.2f}"
    day_and_time = f"2010-12-{day:02} 08:26:00"
    return f"{invoice},P{product},Product,{number % 24 + 1},{day_and_time},{price},17850,{country}\n"
