"""The tables of the sales feature."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from src.kit.database.engine import Base, UtcDateTime


class Status(StrEnum):
    """Where an import stands."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class GroupBy(StrEnum):
    """What a summary has a group for."""

    DAY = "day"
    COUNTRY = "country"
    PRODUCT = "product"


class Money(TypeDecorator[Decimal]):
    """An exact amount of money, kept as whole millionths, because SQLite has no exact decimals."""

    impl = BigInteger
    cache_ok = True
    scale = 6

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else int(value.scaleb(self.scale))

    def process_result_value(self, value: int | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        return None if value is None else Decimal(value).scaleb(-self.scale)


class SalesImport(Base):
    """One uploaded file and what became of it: this row, not Redis, is the truth about the work."""

    __tablename__ = "sales_imports"
    __table_args__ = (
        # The same bytes are imported once, unless that import failed.
        Index(
            "uq_sales_imports_sha256",
            "sha256",
            unique=True,
            postgresql_where=text("status <> 'failed'"),
            sqlite_where=text("status <> 'failed'"),
        ),
        Index("ix_sales_imports_created_at", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    filename: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[Status] = mapped_column(String(10), default=Status.QUEUED)
    reason: Mapped[str | None] = mapped_column(String(500))
    attempt: Mapped[int] = mapped_column(default=0)
    rows_total: Mapped[int | None]
    rows_done: Mapped[int] = mapped_column(default=0)
    rows_rejected: Mapped[int] = mapped_column(default=0)
    errors: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=lambda: datetime.now(UTC))
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SalesImportChunk(Base):
    """A piece of an uploaded file, kept until its import has finished."""

    __tablename__ = "sales_import_chunks"

    import_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("sales_imports.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class SalesLine(Base):
    """One line of an invoice, as a row of the file told it."""

    __tablename__ = "sales_lines"
    # Where else an invoice is: asked when an import finishes.
    __table_args__ = (Index("ix_sales_lines_invoice_day_stock_code", "invoice", "day", "stock_code"),)

    import_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("sales_imports.id", ondelete="CASCADE"), primary_key=True
    )
    line: Mapped[int] = mapped_column(primary_key=True)
    invoice: Mapped[str] = mapped_column(String(64))
    stock_code: Mapped[str] = mapped_column(String(64))
    description: Mapped[str | None] = mapped_column(String(1000))
    quantity: Mapped[int] = mapped_column(BigInteger)
    unit_price: Mapped[Decimal] = mapped_column(Money)
    revenue: Mapped[Decimal] = mapped_column(Money)
    invoiced_at: Mapped[datetime]
    day: Mapped[date]
    customer_id: Mapped[str | None] = mapped_column(String(64))
    country: Mapped[str] = mapped_column(String(100))


class SalesTotal(Base):
    """What the lines of all finished imports add up to on one day: in all, of a country or of a product."""

    __tablename__ = "sales_totals"
    __table_args__ = (
        # SQLite would go on with a float where an integer is too large for it.
        CheckConstraint("abs(revenue) <= 9000000000000000000", name="revenue_is_exact"),
        {"sqlite_with_rowid": False},
    )

    kind: Mapped[GroupBy] = mapped_column(String(7), primary_key=True)
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    """The day as ISO 8601 writes it, the country or the product."""
    day: Mapped[date] = mapped_column(primary_key=True)
    revenue: Mapped[Decimal] = mapped_column(Money)
    units: Mapped[int] = mapped_column(BigInteger)
    orders: Mapped[int]
    """Distinct invoices of this day."""


class SalesInvoiceDay(Base):
    """A day on which finished imports have lines of an invoice: nearly always the only one."""

    __tablename__ = "sales_invoice_days"
    __table_args__ = ({"sqlite_with_rowid": False},)

    invoice: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)


class SalesRepeat(Base):
    """A day on which a country or product has an invoice that it has on other days, too.

    The orders of several days are those of each day, less what this table tells to be the same invoice again.
    """

    __tablename__ = "sales_repeats"
    __table_args__ = ({"sqlite_with_rowid": False},)

    kind: Mapped[GroupBy] = mapped_column(String(7), primary_key=True)
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    invoice: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
