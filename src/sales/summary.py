"""Sales by day, country or product, exact to the last decimal."""

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Select, distinct, func, select

from src.kit.database.engine import transaction
from src.sales.models import GroupBy, Money, SalesRepeat, SalesTotal
from src.sales.schemas import Group, Summary


def summarize(group_by: GroupBy, first: date | None, last: date | None, limit: int | None) -> Summary:
    """Sum up the rows of all finished imports, as they stood at one moment.

    Args:
        group_by: what to group by; days come in order, the rest with the highest revenue first.
        first: leave out what was sold before this day.
        last: leave out what was sold after this day.
        limit: how many groups at the most; the total is over all of them.
    """
    with transaction() as session:
        # One statement, so that an import that finishes meanwhile is in all of the numbers or in none.
        rows = session.execute(_groups(group_by, first, last).limit(limit)).all()
    return Summary(
        total=rows[0].total if rows else Decimal(0),
        groups=[
            Group(key=row.key, revenue=row.revenue, orders=int(row.orders), units=int(row.units))
            for row in rows
        ],
    )


def _groups(group_by: GroupBy, first: date | None, last: date | None) -> Select[Any, Any, Any, Any, Any]:
    revenue = func.sum(SalesTotal.revenue, type_=Money)
    # The same invoice on another day is no other order.
    again = _chosen(SalesRepeat, group_by, first, last).with_only_columns(
        func.count() - func.count(distinct(SalesRepeat.invoice))
    )
    groups = (
        _chosen(SalesTotal, group_by, first, last)
        .with_only_columns(
            SalesTotal.key,
            revenue.label("revenue"),
            func.sum(SalesTotal.units).label("units"),
            (
                func.sum(SalesTotal.orders) - again.where(SalesRepeat.key == SalesTotal.key).scalar_subquery()
            ).label("orders"),
            func.sum(revenue, type_=Money).over().label("total"),
        )
        .group_by(SalesTotal.key)
    )
    return groups.order_by(*([] if group_by is GroupBy.DAY else [revenue.desc()]), SalesTotal.key)


def _chosen(
    table: type[SalesTotal | SalesRepeat], group_by: GroupBy, first: date | None, last: date | None
) -> Select[Any]:
    """The rows of a table for this kind of group between two days, both included."""
    query = select(table).where(table.kind == group_by)
    if first:
        query = query.where(table.day >= first)
    if last:
        query = query.where(table.day <= last)
    return query
