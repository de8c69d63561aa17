"""The tables of the sales feature."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import Mapped, mapped_column

from src.kit.database.engine import Base, UtcDateTime
from src.kit.database.money import Money


class Status(StrEnum):
    """The state of an import."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class GroupBy(StrEnum):
    """What a summary has groups of."""

    DAY = "day"
    COUNTRY = "country"
    PRODUCT = "product"


ImportId = Annotated[uuid.UUID, mapped_column(ForeignKey("sales_imports.id", ondelete="CASCADE"))]
_VALID = text("status <> 'failed'")


class SalesImport(Base):
    """An uploaded file and its state: this row, not Redis, is the truth about the work."""

    __tablename__ = "sales_imports"
    __table_args__ = (
        # The same bytes are imported once, unless that import failed.
        Index("uq_sales_imports_sha256", "sha256", unique=True, postgresql_where=_VALID, sqlite_where=_VALID),
        Index("ix_sales_imports_created_at", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    filename: Mapped[str] = mapped_column(String(255))
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

    import_id: Mapped[ImportId] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


_SUMMED = ("invoice_hash", "import_id", "revenue", "quantity")


class SalesLine(Base):
    """A line of an invoice: a row of the file."""

    __tablename__ = "sales_lines"
    # One for each way to group: a summary reads nothing but one of them, in its order.
    __table_args__ = (
        Index("ix_sales_lines_by_day", "day", *_SUMMED),
        Index("ix_sales_lines_by_country", "country", *_SUMMED, "day"),
        Index("ix_sales_lines_by_product", "stock_code", *_SUMMED, "day"),
    )

    import_id: Mapped[ImportId] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    invoice: Mapped[str] = mapped_column(String(64))
    invoice_hash: Mapped[int] = mapped_column(BigInteger)
    stock_code: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(String(1000))
    quantity: Mapped[int]
    unit_price: Mapped[Decimal] = mapped_column(Money)
    revenue: Mapped[Decimal] = mapped_column(Money)
    invoiced_at: Mapped[datetime]
    day: Mapped[date]
    customer_id: Mapped[str] = mapped_column(String(64))
    country: Mapped[str] = mapped_column(String(100))
