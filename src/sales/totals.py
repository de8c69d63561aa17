"""Totals by day, country and product, kept as imports finish, so that a summary need not read every line.

Revenue and units add up over imports and days. Orders, which are distinct invoices, don't: an invoice may
come again in another import and on another day. So `SalesTotal` counts the orders of single days, each once,
and `SalesRepeat` lists those few that a country or product has on several. Imports are counted in in turn.
"""

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import String, and_, case, cast, exists, func, literal, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from src.sales.models import (
    GroupBy,
    SalesImport,
    SalesInvoiceDay,
    SalesLine,
    SalesRepeat,
    SalesTotal,
    Status,
)

# A day's text is the same on every database, and sorts as the day does.
_KEYS: dict[GroupBy, Callable[[Any], Any]] = {
    GroupBy.DAY: lambda line: cast(line.day, String),
    GroupBy.COUNTRY: lambda line: line.country,
    GroupBy.PRODUCT: lambda line: line.stock_code,
}


def wait_for_turn(session: Session) -> None:
    """Keep other imports from finishing until this transaction ends: to be called first in it."""
    if _dialect(session) == "postgresql":  # SQLite has one writer at a time anyway
        session.execute(text("LOCK TABLE sales_totals IN SHARE ROW EXCLUSIVE MODE"))


def add(session: Session, import_id: uuid.UUID) -> None:
    """Count in the lines of an import, in the transaction in which it finishes and after `wait_for_turn`."""
    for kind in GroupBy:
        _add_sums(session, import_id, kind)
    _note_days(session, import_id)
    for kind in GroupBy:
        _note_repeats(session, import_id, kind)


def _add_sums(session: Session, import_id: uuid.UUID, kind: GroupBy) -> None:
    key = _KEYS[kind](SalesLine)
    cells = (
        select(
            key.label("key"),
            SalesLine.day,
            func.sum(SalesLine.revenue).label("revenue"),
            func.sum(SalesLine.quantity).label("units"),
            case((_was_there(import_id, kind), 0), else_=1).label("orders"),
        )
        .where(SalesLine.import_id == import_id)
        .group_by(key, SalesLine.day, SalesLine.invoice)
        .subquery()
    )
    sums = [func.sum(cells.c[name]) for name in ("revenue", "units", "orders")]
    totals = select(literal(kind), cells.c.key, cells.c.day, *sums).group_by(cells.c.key, cells.c.day)
    names = ["kind", "key", "day", "revenue", "units", "orders"]
    added = _insert(session, SalesTotal).from_select(names, totals)
    session.execute(
        added.on_conflict_do_update(
            index_elements=names[:3],
            set_={name: getattr(SalesTotal, name) + added.excluded[name] for name in names[3:]},
        )
    )


def _was_there(import_id: uuid.UUID, kind: GroupBy) -> Any:
    """Whether another import had the line's invoice on the same day under the same key."""
    key, other = _KEYS[kind], aliased(SalesLine)
    # Asked first, and nearly always no: then nothing else needs to be looked at.
    had_invoice = exists().where(
        SalesInvoiceDay.invoice == SalesLine.invoice, SalesInvoiceDay.day == SalesLine.day
    )
    had_line = (
        exists()
        .where(other.invoice == SalesLine.invoice, other.day == SalesLine.day, key(other) == key(SalesLine))
        .where(other.import_id == SalesImport.id, SalesImport.status == Status.FINISHED)
        .where(SalesImport.id != import_id)
    )
    return and_(had_invoice, had_line)


def _note_days(session: Session, import_id: uuid.UUID) -> None:
    days = select(SalesLine.invoice, SalesLine.day).where(SalesLine.import_id == import_id).distinct()
    session.execute(
        _insert(session, SalesInvoiceDay).from_select(["invoice", "day"], days).on_conflict_do_nothing()
    )


def _note_repeats(session: Session, import_id: uuid.UUID, kind: GroupBy) -> None:
    invoices = select(SalesLine.invoice).where(SalesLine.import_id == import_id)
    on_several_days = (
        select(SalesInvoiceDay.invoice)
        .where(SalesInvoiceDay.invoice.in_(invoices))
        .group_by(SalesInvoiceDay.invoice)
        .having(func.count() > 1)
    )
    days = (
        select(_KEYS[kind](SalesLine).label("key"), SalesLine.invoice, SalesLine.day)
        .join(SalesImport)
        .where(SalesImport.status == Status.FINISHED, SalesLine.invoice.in_(on_several_days))
        .distinct()
        .subquery()
    )
    number = func.count().over(partition_by=[days.c.key, days.c.invoice]).label("number")
    counted = select(days, number).subquery()
    repeats = select(literal(kind), counted.c.key, counted.c.invoice, counted.c.day).where(
        counted.c.number > 1
    )
    names = ["kind", "key", "invoice", "day"]
    session.execute(_insert(session, SalesRepeat).from_select(names, repeats).on_conflict_do_nothing())


def _insert(session: Session, table: Any) -> Any:
    return postgresql.insert(table) if _dialect(session) == "postgresql" else sqlite.insert(table)


def _dialect(session: Session) -> str:
    return session.get_bind().dialect.name
