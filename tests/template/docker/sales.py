"""Sales with known figures: generated, and the real ones where SALES_DATA_DIR has them."""

import csv
import io
import json
import os
import random
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

COUNTRIES = ("United Kingdom", "France", "Germany", "EIRE", "Côte d'Ivoire")


@dataclass
class Figures:
    """What the sales of a country add up to."""

    revenue: Decimal = Decimal(0)
    units: int = 0
    invoices: set[str] = field(default_factory=set)


def generated(rows: int, seed: int = 1) -> tuple[bytes, dict[str, Figures]]:
    """A file of so many rows, cancellations among them, and its figures by country."""
    # Not for secrets: the same file every time.
    chance = random.Random(seed)  # noqa: S311
    figures: dict[str, Figures] = defaultdict(Figures)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(
        [
            "InvoiceNo",
            "StockCode",
            "Description",
            "Quantity",
            "InvoiceDate",
            "UnitPrice",
            "CustomerID",
            "Country",
        ]
    )
    for row in range(rows):
        number = row // 7
        country = COUNTRIES[number % len(COUNTRIES)]
        cancelled = number % 20 == 0
        invoice = f"{'C' if cancelled else ''}{seed}{number:06}"
        quantity = chance.randint(1, 500) * (-1 if cancelled else 1)
        price = Decimal(chance.randint(1, 99999)).scaleb(-2)
        day = f"2010-12-{1 + number % 28:02} 08:26:00"
        writer.writerow(
            [invoice, f"S{row % 90}", "A thing, with a comma", quantity, day, price, "17850.0", country]
        )
        figures[country].revenue += quantity * price
        figures[country].units += quantity
        figures[country].invoices.add(invoice)
    return text.getvalue().encode(), figures


def real() -> tuple[bytes, dict[str, Decimal]]:
    """The real sample and its revenue by country; skips where there is none."""
    folder = Path(os.environ.get("SALES_DATA_DIR", "/nowhere"))
    sample, figures = folder / "online_retail_10k.csv", folder / "figures.json"
    if not (sample.is_file() and figures.is_file()):
        pytest.skip("SALES_DATA_DIR names no folder with online_retail_10k.csv and figures.json")
    by_country = json.loads(figures.read_text("utf-8"))["by_country"]
    return sample.read_bytes(), {country: Decimal(revenue) for country, revenue in by_country.items()}
