"""Sales by day, country or product, exact to the last decimal."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Select, distinct, func, select

from src.database import transaction
from src.sales.models import Money, SalesImport, SalesLine, Status
from src.sales.schemas import Group, Summary


class GroupBy(StrEnum):
    """What a summary has a group for."""

    DAY = "day"
    COUNTRY = "country"
    PRODUCT = "product"


_KEYS: dict[GroupBy, ColumnElement[Any]] = {
    GroupBy.DAY: SalesLine.day.expression,
    GroupBy.COUNTRY: SalesLine.country.expression,
    GroupBy.PRODUCT: SalesLine.stock_code.expression,
}


def summarize(group_by: GroupBy, first: date | None, last: date | None, limit: int | None) -> Summary:
    """Sum up the rows of all finished imports.

    Args:
        group_by: what to group by; days come in order, the rest with the highest revenue first.
        first: leave out what was sold before this day.
        last: leave out what was sold after this day.
        limit: how many groups at the most; the total is over all of them.
    """
    revenue = func.sum(SalesLine.revenue, type_=Money)
    key = _KEYS[group_by]
    groups = _chosen(
        select(
            key.label("key"),
            revenue.label("revenue"),
            func.count(distinct(SalesLine.invoice)).label("orders"),
            func.sum(SalesLine.quantity).label("units"),
        ),
        first,
        last,
    ).group_by(key)
    order = [key] if group_by is GroupBy.DAY else [revenue.desc(), key]
    with transaction() as session:
        total = session.scalar(_chosen(select(revenue), first, last))
        rows = session.execute(groups.order_by(*order).limit(limit)).all()
    return Summary(
        total=total or Decimal(0),
        groups=[Group(key=str(r.key), revenue=r.revenue, orders=r.orders, units=int(r.units)) for r in rows],
    )


def _chosen(query: Select[Any], first: date | None, last: date | None) -> Select[Any]:
    """Restrict a query to the rows of finished imports between two days, both included."""
    query = query.join(SalesImport).where(SalesImport.status == Status.FINISHED)
    if first:
        query = query.where(SalesLine.day >= first)
    if last:
        query = query.where(SalesLine.day <= last)
    return query
