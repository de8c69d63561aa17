"""Sales by day, country or product, exact to the last decimal."""

from datetime import date
from decimal import Decimal

from sqlalchemy import distinct, func, select, true

from src.kit.database.engine import transaction
from src.kit.database.money import Money
from src.sales.models import GroupBy, SalesImport, SalesLine, Status
from src.sales.schemas import Group, Summary


def summarize(
    group_by: GroupBy, first: date | None, last: date | None, limit: int | None = None, offset: int = 0
) -> Summary:
    """Sum up the rows of all finished imports: days in order, other groups with the highest revenue first."""
    key = getattr(SalesLine, "stock_code" if group_by is GroupBy.PRODUCT else group_by)
    unfinished = select(SalesImport.id).where(SalesImport.status != Status.FINISHED)
    revenue = func.sum(SalesLine.revenue, type_=Money)
    query = (
        select(
            key.label("key"),
            revenue.label("revenue"),
            func.count(distinct(SalesLine.invoice_hash)).label("orders"),
            func.sum(SalesLine.quantity).label("units"),
            func.sum(revenue, type_=Money).over().label("total"),
            func.count().over().label("count_all"),
        )
        .where(SalesLine.import_id.not_in(unfinished))
        .where(SalesLine.day >= first if first else true(), SalesLine.day <= last if last else true())
        .group_by(key)
        .order_by(key if group_by is GroupBy.DAY else revenue.desc(), key)
        .limit(limit)
        .offset(offset)
    )
    with transaction() as session:
        rows = session.execute(query).all()
    if offset and not rows:
        return Summary(total=summarize(group_by, first, last, 1).total, groups=[])
    end = offset + len(rows)
    return Summary(
        total=rows[0].total if rows else Decimal(0),
        groups=[Group.model_validate(row, from_attributes=True) for row in rows],
        next=end if rows and end < rows[0].count_all else None,
    )
