"""The chart of revenue over time, whatever the span and the sign."""

from datetime import date, timedelta
from decimal import Decimal

import pytest

from src.sales.charts import over_time
from src.sales.schemas import Group


@pytest.mark.parametrize(
    ("days", "unit", "labels"), [(1, "day", 1), (30, "day", 6), (374, "week", 6), (1000, "month", 6)]
)
def test_any_span_of_time_has_few_columns_and_labels(days: int, unit: str, labels: int) -> None:
    chart = over_time(_groups([Decimal(1)] * days))
    assert (chart["unit"], len(chart["dates"])) == (unit, labels)
    assert len(chart["columns"]) <= 130
    assert sum(revenue for _, revenue, _, _ in chart["columns"]) == days


def test_negative_revenue_hangs_below_zero() -> None:
    chart = over_time(_groups([Decimal(10), Decimal(-5)]))
    assert [amount for _, amount in chart["amounts"]] == [-5, 0, 5, 10]
    assert chart["zero"] == pytest.approx(200 / 3)
    assert [height for _, _, _, height in chart["columns"]] == pytest.approx([200 / 3, 100 / 3])


def test_dates_at_both_ends_of_the_calendar_can_be_drawn() -> None:
    groups = [Group(key=str(day), revenue=Decimal(1), orders=1, units=1) for day in (date.min, date.max)]
    chart = over_time(groups)
    assert [round(middle) for _, _, middle, _ in chart["columns"]] == [0, 100]
    assert [year for _, _, year in chart["dates"]] == [2000, 4000, 6000, 8000]


def test_no_revenue_at_all_has_a_scale() -> None:
    assert [amount for _, amount in over_time(_groups([Decimal(0)]))["amounts"]] == [0, 0.25, 0.5, 0.75, 1]


def _groups(revenue: list[Decimal]) -> list[Group]:
    first = date(2010, 12, 1)
    return [
        Group(key=str(first + timedelta(days=i)), revenue=amount, orders=1, units=1)
        for i, amount in enumerate(revenue)
    ]
