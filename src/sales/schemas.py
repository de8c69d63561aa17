"""What the sales API takes and answers."""

import re
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from src.sales.models import Status


def _plain(amount: Decimal) -> str:
    """An exact decimal without exponent, with two decimals or as many as it needs."""
    cents = amount.quantize(Decimal("0.01"))
    return f"{cents if cents == amount else amount.normalize():f}"


def _not_a_number(text: str) -> str:
    """Pydantic takes a number for the seconds since 1970."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError("write it as 2010-12-31")
    return text


Day = Annotated[date, BeforeValidator(_not_a_number)]
Money = Annotated[Decimal, PlainSerializer(_plain, return_type=str)]


class RowError(BaseModel):
    """Why a row of the file was rejected, or the whole file."""

    line: int = Field(description="Line of the file, from 1.", examples=[17])
    column: str | None = Field(description="Column, as the file spells it.", examples=["Quantity"])
    reason: str = Field(examples=["'abc' is not a number"])


class ImportView(BaseModel):
    """The state and progress of an import."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    filename: str = Field(examples=["online_retail.csv"])
    status: Status
    reason: str | None = Field(description="Why the import failed.", examples=[None])
    rows_total: int | None = Field(description="Null until the file was counted.", examples=[10000])
    rows_done: int = Field(description="Rows stored.", examples=[4498])
    rows_rejected: int = Field(description="Rows that could not be read.", examples=[2])
    errors: list[RowError] = Field(description="Why, for the first 100 of them.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Group(BaseModel):
    """Sales of one day, country or product."""

    key: Annotated[str, BeforeValidator(str)] = Field(examples=["United Kingdom"])
    revenue: Money = Field(examples=["164937.22"])
    orders: int = Field(description="Distinct invoices.", examples=[461])
    units: int = Field(description="Sum of the quantities.", examples=[81234])


class Summary(BaseModel):
    """Sales of all finished imports."""

    total: Money = Field(description="Revenue of all groups, also beyond the limit.", examples=["180667.75"])
    groups: list[Group]
    next: int | None = Field(default=None, description="The `offset` of the groups that follow, if any.")
