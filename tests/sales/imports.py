"""Imports as a client sees them."""

import io
from decimal import Decimal
from typing import Any

from fastapi.testclient import TestClient

from tests.conftest import wait_until
from tests.sales.sales_csv import HEADER

IMPORTS = "/api/v1/sales/imports"


def sales_csv(rows: int) -> tuple[bytes, Decimal]:
    """A file of so many rows, and what they add up to."""
    out = io.StringIO(f"{HEADER}\n")
    out.seek(0, 2)
    total = Decimal(0)
    for i in range(rows):
        quantity, price = i % 17 - 3, Decimal(i % 1000) / 100
        country = ("France", "Norway", "EIRE")[i % 3]
        out.write(
            f"{i // 5},P{i % 40},It {i},{quantity},2010-12-{i % 28 + 1:02} 08:26:00,{price},1.0,{country}\n"
        )
        total += quantity * price
    return out.getvalue().encode(), total


def upload(client: TestClient, data: bytes, name: str = "sales.csv") -> Any:
    return client.post(IMPORTS, files={"file": (name, data)})


def ended(client: TestClient, import_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        view: dict[str, Any] = client.get(f"{IMPORTS}/{import_id}").json()
        return view if view["status"] in ("finished", "failed") else None

    return wait_until(look, 60, "the import to end")
