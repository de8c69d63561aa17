"""A row of a sales file: what its cells may hold, and why a row is rejected."""

import re
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo

MAX_AMOUNT = 10**8  # of a row: SQLite adds up millionths of it in 64 bits

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_REASONS = {  # pydantic's types of errors in fewer words
    "decimal_max_places": "has more than {decimal_places} decimals",
    "greater_than_equal": "is below {ge:,}",
    "int_from_float": "is not a whole number",
    "less_than_equal": "is above {le:,}",
    "string_pattern_mismatch": "has a control character",
    "string_too_long": "is longer than {max_length} characters",
    "string_unicode": "contains bytes that are not valid text",
    "value_error": "{error}",
}


def shown(text: str) -> str:
    """Text from a file as a message may quote it: short, on one line, printable."""
    text = " ".join(text[:200].split())
    text = text if len(text) <= 40 else text[:39] + "…"
    return "".join(char if char.isprintable() else "�" for char in text)


def _number(cell: str, info: ValidationInfo) -> Decimal:
    text = cell.strip()
    if info.context and info.context["decimal_comma"]:
        text = text.replace(",", ".")
    if len(text) > 64 or not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    return Decimal(text)


def _check_amount(price: Decimal, info: ValidationInfo) -> Decimal:
    if max(1, abs(info.data.get("quantity", 1))) * abs(price) > MAX_AMOUNT:
        raise ValueError(f"times the quantity is beyond {MAX_AMOUNT:,}")
    return price


@lru_cache(1024)
def _date(cell: str) -> datetime:
    text = cell.strip()
    date, _, time = text.replace("T", " ").replace(",", ".").partition(" ")
    year = "%Y" if re.search("[0-9]{4}", date) else "%y"  # of two digits: from 1969 to 2068
    order = f"%m/%d/{year}" if "/" in date else f"%d-%m-{year}"
    order = "%Y-%m-%d" if re.match("[0-9]{4}-", date) else order
    clock = ("", " %H:%M", " %H:%M:%S")[min(time.count(":"), 2)] + (".%f" if "." in time else "")
    with suppress(ValueError):
        moment = datetime.strptime(f"{date} {time.strip()[:15]}".strip(), order + clock)  # noqa: DTZ007
        if text.isascii() and 1900 <= moment.year < 2100:
            return moment
    raise ValueError("is not a date from 1900 to 2099, such as 2010-12-31 13:30, without a time zone")


def _undo_float(code: str) -> str:
    """Restore a code that a spreadsheet has turned into a number: 17850.0."""
    return code[:-2] if code.endswith(".0") and code[:-2].isdecimal() else code


def _text(max_length: int, min_length: int = 1) -> Any:
    printable = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
    return Field(min_length=min_length, max_length=max_length, pattern=printable)


class SalesRow(BaseModel, str_strip_whitespace=True):
    """A line of an invoice, converted from the text of its cells."""

    line: int
    """Line of the file that the row begins on, from 1."""
    invoice: Annotated[str, _text(64), AfterValidator(_undo_float)]
    stock_code: Annotated[str, _text(64), AfterValidator(_undo_float)]
    description: Annotated[str, _text(1000, 0)] = ""
    quantity: Annotated[int, BeforeValidator(_number), Field(ge=-(10**9), le=10**9)]
    """Negative for returns."""
    invoiced_at: Annotated[datetime, BeforeValidator(_date)]
    """By the shop's clock, without a time zone."""
    unit_price: Annotated[
        Decimal, BeforeValidator(_number), Field(decimal_places=6), AfterValidator(_check_amount)
    ]
    customer_id: Annotated[str, _text(64, 0), AfterValidator(_undo_float)] = ""
    country: Annotated[str, _text(100)]


def reason_for(error: ValidationError) -> tuple[str, str]:
    """The field to look at and what is wrong with it, in a few words: `'abc' is not a number`."""
    first = error.errors(include_url=False)[0]
    field, cell = str(first["loc"][0]), str(first["input"])
    reason = _REASONS.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    return field, f"'{shown(cell)}' {reason}" if cell.strip() else "is empty"
