"""Sales with known figures: generated, and the real ones where SALES_DATA_DIR has them."""

import json
import os
import random
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.sales.sales_csv import HEADER
from tests.template.running import Running

COUNTRIES = ("United Kingdom", "France", "Germany", "EIRE", "Côte d'Ivoire")
Figures = Counter[tuple[str, str]]
"""By country: its `revenue` in cents, `orders` and `units`. Those of two files add up."""


def generated(rows: int, seed: int = 1) -> tuple[bytes, Figures]:
    """A file of so many rows, cancellations among them, and its figures."""
    chance, figures, lines = random.Random(seed), Figures(), [HEADER]  # noqa: S311
    for row in range(rows):
        number = row // 7
        country, cancelled = COUNTRIES[number % len(COUNTRIES)], number % 20 == 0
        quantity = chance.randint(1, 500) * (-1 if cancelled else 1)
        cents = chance.randint(1, 99999)
        lines.append(
            f'{"C" if cancelled else ""}{seed}{number:06},S{row % 90},"A thing, with a comma",{quantity},'
            f"2010-12-{1 + number % 28:02} 08:26:00,{Decimal(cents).scaleb(-2)},17850.0,{country}"
        )
        figures[country, "revenue"] += quantity * cents
        figures[country, "units"] += quantity
        figures[country, "orders"] += row % 7 == 0
    return "\n".join(lines).encode(), figures


def real() -> tuple[bytes, dict[str, Decimal]]:
    """The real sample and its revenue by country; skips where there is none."""
    folder = Path(os.environ.get("SALES_DATA_DIR", "/nowhere"))
    sample, figures = folder / "online_retail_10k.csv", folder / "figures.json"
    if not (sample.is_file() and figures.is_file()):
        pytest.skip("SALES_DATA_DIR names no folder with online_retail_10k.csv and figures.json")
    by_country = json.loads(figures.read_text("utf-8"))["by_country"]
    return sample.read_bytes(), {country: Decimal(revenue) for country, revenue in by_country.items()}


def upload(running: Running, content: bytes, name: str = "sales.csv") -> dict[str, Any]:
    """Upload as a client does that tries again while it is told 503 or gets no answer; the import."""

    def attempt() -> dict[str, Any] | None:
        files = {"file": (name, content, "text/csv")}
        response = running.request("POST", "/api/v1/sales/imports", files=files)
        if response is None or response.status_code == 503:
            return None
        assert response.status_code in (200, 202), response.text
        return {"is_new": response.status_code == 202, **response.json()}

    return wait_until(attempt, 180, f"{name} to be accepted")


def wait_for_end(running: Running, import_id: str) -> Mapping[str, Any]:
    """The import, when it has ended."""

    def ended() -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = running.get(f"/api/v1/sales/imports/{import_id}")
        return found if found and found["status"] in ("finished", "failed") else None

    return wait_until(ended, 120, f"the end of import {import_id}")


def import_file(running: Running, content: bytes) -> Mapping[str, Any]:
    """Have a new file imported, and return the import when it has ended."""
    accepted = upload(running, content)
    assert accepted["is_new"]
    return wait_for_end(running, accepted["id"])


def shown(running: Running) -> Figures:
    """The figures that the API shows."""
    summary = running.get("/api/v1/sales/summary?group_by=country")
    found = Figures()
    for group in summary["groups"]:
        found[group["key"], "revenue"] = int(Decimal(group["revenue"]) * 100)
        found[group["key"], "orders"], found[group["key"], "units"] = group["orders"], group["units"]
    assert Decimal(summary["total"]) == sum(Decimal(group["revenue"]) for group in summary["groups"])
    return found
