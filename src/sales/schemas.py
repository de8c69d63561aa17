"""What the sales API answers."""

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from src.sales.models import Status


def _plain(amount: Decimal) -> str:
    """An exact decimal without exponent, with two decimals or as many as it needs."""
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount.normalize():f}"


Money = Annotated[Decimal, PlainSerializer(_plain, return_type=str)]


class RowError(BaseModel):
    """Why a row of the file was rejected, or the whole file."""

    line: int = Field(description="Line of the file, the first one is 1.", examples=[17])
    column: str | None = Field(description="Column as the file spells it.", examples=["Quantity"])
    reason: str = Field(examples=["'abc' is not a whole number"])


class ImportView(BaseModel):
    """An import of sales: its state, and how far it is."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "0198c0de-7f3a-4a57-9d5b-6f9d6f0f7a11",
                    "filename": "online_retail.csv",
                    "status": "running",
                    "reason": None,
                    "rows_total": 10000,
                    "rows_done": 4498,
                    "rows_rejected": 2,
                    "errors": [{"line": 17, "column": "Quantity", "reason": "'abc' is not a whole number"}],
                    "created_at": "2026-11-22T09:00:00Z",
                    "started_at": "2026-11-22T09:00:01Z",
                    "finished_at": None,
                }
            ]
        },
    )

    id: uuid.UUID
    filename: str
    status: Status
    reason: str | None = Field(description="Why the import failed.")
    rows_total: int | None = Field(description="Rows of the file; unknown until the import has looked at it.")
    rows_done: int = Field(description="Rows stored.")
    rows_rejected: int = Field(description="Rows that could not be read.")
    errors: list[RowError] = Field(description="The first 100 reasons.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Group(BaseModel):
    """Sales of one day, country or product."""

    key: str = Field(examples=["United Kingdom"])
    revenue: Money = Field(description="Exact decimal.", examples=["164937.22"])
    orders: int = Field(description="Distinct invoices.", examples=[461])
    units: int = Field(description="Sum of the quantities.", examples=[81234])


class Summary(BaseModel):
    """Sales of all finished imports."""

    total: Money = Field(
        description="Revenue over all groups, also those beyond the limit.", examples=["180667.75"]
    )
    groups: list[Group]
