"""The example on Docker, in production: one stack, on which the tests build in this order."""

import shutil
from decimal import Decimal

import pytest

from tests.template.docker import sales
from tests.template.docker.running import Running

CSV, FIGURES = sales.generated(3_000)


@pytest.fixture(scope="module")
def production(clone: Running) -> Running:
    """The production stack, running in the background."""
    clone.make("prod", seconds=300)
    return clone


def figures(running: Running) -> dict[str, tuple[Decimal, int, int]]:
    summary = running.get("/api/v1/sales/summary?group_by=country")
    assert Decimal(summary["total"]) == sum(Decimal(group["revenue"]) for group in summary["groups"])
    return {
        group["key"]: (Decimal(group["revenue"]), group["orders"], group["units"])
        for group in summary["groups"]
    }


def expected() -> dict[str, tuple[Decimal, int, int]]:
    return {key: (each.revenue, len(each.invoices), each.units) for key, each in FIGURES.items()}


def test_an_import_through_the_stack_adds_up(production: Running) -> None:
    ended = production.import_file(CSV)
    assert (ended["status"], ended["rows_total"], ended["rows_done"]) == ("finished", 3_000, 3_000)
    assert figures(production) == expected()


def test_the_same_file_is_not_imported_twice(production: Running) -> None:
    assert production.upload(CSV, "again.csv").status_code == 200
    assert figures(production) == expected()


def test_the_real_sales_add_up(production: Running) -> None:
    content, by_country = sales.real()
    before = figures(production)
    ended = production.import_file(content)
    assert (ended["status"], ended["rows_done"], ended["rows_rejected"]) == ("finished", 10_000, 0)
    added = {key: now[0] - before.get(key, (Decimal(0),))[0] for key, now in figures(production).items()}
    assert {key: revenue for key, revenue in added.items() if revenue} == by_country


def test_data_survives_down_and_prod_again(production: Running) -> None:
    before = figures(production)
    production.make("down")
    assert production.containers("postgres") == []
    production.make("prod")
    assert figures(production) == before


def test_the_data_outlives_lost_secrets(production: Running) -> None:
    before = figures(production)
    production.make("down")
    password = production.folder / "secrets" / "postgres_password"
    old = password.read_text("ascii")
    shutil.rmtree(production.folder / "secrets")
    shutil.rmtree(production.folder / "data", ignore_errors=True)
    output = production.make("prod")
    assert "giving it the new password" in output
    assert password.read_text("ascii") != old
    assert figures(production) == before
    production.wait_for_code(production.code(), workers=3)
