"""Revenue over time as a chart: positions in percent, which `templates/charts.html` draws as SVG."""

import math
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from src.sales.schemas import Group

# What a column can show: its width in days, its name.
UNITS = {"day": (1, "%d %B %Y"), "week": (7, "Week of %d %B %Y"), "month": (30, "%B %Y"), "year": (365, "%Y")}
MAX_COLUMNS, MAX_DATES = 130, 7
MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000, 12_000, 24_000)


def over_time(groups: Sequence[Group]) -> dict[str, Any]:
    """Chart revenue by day, or by week, month or year where there are too many days for a column each."""
    days = [date.fromisoformat(group.key) for group in groups]
    span = (days[-1] - days[0]).days
    unit = next((unit for unit in UNITS if span < MAX_COLUMNS * UNITS[unit][0]), "year")
    size, name = UNITS[unit]
    revenue: dict[date, float] = {}
    for day, group in zip(days, groups, strict=True):
        revenue[_begin(day, unit)] = revenue.get(_begin(day, unit), 0) + float(group.revenue)
    first, last = min(revenue), max(revenue)
    percent = 100 / ((last - first).days + size)  # of the chart's width, for a day
    middles = {day: ((day - first).days + size / 2) * percent for day in [*revenue, *_dates(first, last)]}
    scale = _scale(min(0, *revenue.values()), max(0, *revenue.values()))
    height = {amount: 100 * abs(amount) / (scale[-1] - scale[0]) for amount in [*revenue.values(), *scale]}
    zero = height[scale[-1]]
    return {
        "unit": unit,
        "zero": zero,
        "width": max(0.3, min(percent * size * 0.8, 6)),
        "columns": [(f"{day:{name}}", sum_, middles[day], height[sum_]) for day, sum_ in revenue.items()],
        "dates": [(middles[day], label, day.year) for day, label in _dates(first, last).items()],
        "amounts": [(zero - math.copysign(height[amount], amount), amount) for amount in scale],
    }


def _begin(day: date, unit: str) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day if unit == "day" else day.replace(day=1, month=1 if unit == "year" else day.month)


def _dates(first: date, last: date) -> dict[date, str]:
    """Labels for some of the days between two, or for the first days of some of the months."""
    span = (last - first).days + 1
    if span <= 62:
        days = (first + timedelta(days=i) for i in range(0, span, math.ceil(span / MAX_DATES)))
        return {day: f"{day.day} {day:%b}" for day in days}
    begin, end = first.year * 12 + first.month - (first.day == 1), last.year * 12 + last.month
    step = next(step for step in MONTH_STEPS if (end - begin) / step <= MAX_DATES)
    months = (date(i // 12, i % 12 + 1, 1) for i in range(math.ceil(begin / step) * step, end, step))
    return {month: f"{month:%b}" for month in months}


def _scale(low: float, high: float) -> list[float]:
    """Round amounts at equal distances, zero among them, from the lowest or below to the highest or above."""
    high = high or float(not low)
    power = 10 ** math.floor(math.log10((high - low) / 4))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= (high - low) / 4)
    return [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]
