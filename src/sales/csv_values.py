"""The values in the cells of a sales CSV: text, whole numbers, prices and the spellings of a date.

Every function takes a cell without the white space around it, and raises `BadValueError` with the reason.
"""

import re
from datetime import datetime
from decimal import Decimal
from functools import lru_cache

MAX_QUANTITY = 10**9
"""Largest quantity of a row, either way."""

PRICE_LIMIT = 10**9
"""A unit price is below this, either way."""

PRICE_DECIMALS = 6
"""Decimals of a unit price that count; more of them may only be zeros."""

MAX_AMOUNT = 10**10
"""Largest quantity times unit price of a row, either way."""

YEARS = range(1900, 2101)
"""Years that a row may be from."""

_CACHED = 1024  # dates and prices repeat from row to row: the latest are kept as they were parsed
_LONGEST_CACHED = 64  # characters, so that what is kept stays small

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NOT_DECODED = re.compile("[\x00\ud800-\udfff]")
_FLOAT_CODE = re.compile(r"([0-9]+)\.0")
_QUANTITY = re.compile(r"([+-]?)([0-9]+)(?:\.0*)?")
_PRICE = re.compile(r"([+-]?)(?:([0-9]+)(?:[.,]([0-9]*))?|[.,]([0-9]+))")
_DATE = re.compile(
    r"""(?: (\d{4})-(\d{1,2})-(\d{1,2})              # 2010-12-01
          | (\d{1,2})/(\d{1,2})/(\d{4}|\d{2})        # 12/1/2010 and 12/1/10, month first
          | (\d{1,2})-(\d{1,2})-(\d{4}|\d{2})        # 01-12-2010 and 01-12-10, day first
        )
        (?: (?:T|[ ]+) (\d{1,2}):(\d{2}) (?: :(\d{2}) (?:[.,](\d+))? )? )?""",
    re.ASCII | re.VERBOSE,
)
_TIME_ZONE = re.compile(
    r":\d\d(?:[.,]\d+)?\s*(?:Z|[A-Z]{3,4}|(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?)$", re.ASCII | re.IGNORECASE
)


class BadValueError(ValueError):
    """A cell does not hold what its column is for; the text says why, in a few words."""


def shown(text: str, limit: int = 40) -> str:
    """Part of a file as an error may quote it: on one line, short, and without what does not print."""
    text = " ".join(text[: 4 * limit].split())
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else "�" for char in text)


def check_text(cell: str, *, used: bool) -> None:
    """Refuse what cannot be text.

    Args:
        cell: as it was decoded, with `surrogateescape`.
        used: an import stores it; then no control characters either, except tab and line break.
    """
    if bad := _NOT_DECODED.search(cell):
        what = "NUL byte" if bad[0] == "\0" else "byte that stands for no character"
        raise BadValueError(f"holds a {what}")
    if used and (bad := _CONTROL.search(cell)):
        raise BadValueError(f"holds the control character U+{ord(bad[0]):04X}")


def text_up_to(limit: int, cell: str) -> str:
    """The cell, with at most `limit` characters."""
    if len(cell) > limit:
        raise BadValueError(f"is longer than {limit} characters")
    return cell


def code(limit: int, cell: str) -> str:
    """A number or code as text; what a spreadsheet made a decimal of (`17850.0`) loses its `.0`."""
    if cell.endswith(".0") and (whole := _FLOAT_CODE.fullmatch(cell)):
        cell = whole[1]
    return text_up_to(limit, cell)


def required(cell: str) -> str:
    """The cell, which must hold something."""
    if not cell:
        raise BadValueError("is empty")
    return cell


def quantity(cell: str) -> int:
    """A whole number, also written as `6.0`."""
    if not (match := _QUANTITY.fullmatch(cell)):
        raise BadValueError(f"'{shown(cell)}' is not a whole number")
    digits = match[2].lstrip("0") or "0"
    if len(digits) > len(str(MAX_QUANTITY)) or int(digits) > MAX_QUANTITY:
        raise BadValueError(f"'{shown(cell)}' is beyond {MAX_QUANTITY:,}")
    return int(match[1] + digits)


def price(cell: str, *, decimal_comma: bool) -> Decimal:
    """A price with a decimal point, or also with a decimal comma; never with separators of thousands."""
    if len(cell) > _LONGEST_CACHED or ("," in cell and not decimal_comma):
        raise BadValueError(f"'{shown(cell)}' is not a price")
    return _price(cell)


@lru_cache(_CACHED)
def _price(cell: str) -> Decimal:
    if not (match := _PRICE.fullmatch(cell)):
        raise BadValueError(f"'{shown(cell)}' is not a price")
    sign, whole, decimals = match[1], (match[2] or "").lstrip("0"), match[3] or match[4] or ""
    if decimals[PRICE_DECIMALS:].strip("0"):
        raise BadValueError(f"'{shown(cell)}' has more than {PRICE_DECIMALS} decimals")
    if len(whole) >= len(str(PRICE_LIMIT)):
        raise BadValueError(f"'{shown(cell)}' is not below {PRICE_LIMIT:,}")
    value = Decimal(f"{sign}{whole or 0}.{decimals[:PRICE_DECIMALS]}")
    return value or abs(value)  # no zero with a sign


def check_amount(number: int, unit_price: Decimal) -> None:
    """Refuse a row whose amount, quantity times price, is beyond all sense."""
    if abs(number * unit_price) > MAX_AMOUNT:
        raise BadValueError(f"{number:,} pieces at this price are beyond an amount of {MAX_AMOUNT:,}")


def date(cell: str) -> datetime:
    """A date with or without a time of day, in the clock of the shop: without a time zone."""
    if len(cell) > _LONGEST_CACHED:
        raise BadValueError(f"'{shown(cell)}' is not a date")
    return _date(cell)


@lru_cache(_CACHED)
def _date(cell: str) -> datetime:
    if not (match := _DATE.fullmatch(cell)):
        if _TIME_ZONE.search(cell):
            raise BadValueError(f"'{shown(cell)}' has a time zone; write the time of day without one")
        raise BadValueError(f"'{shown(cell)}' is not a date")
    parts = match.groups("")
    if parts[0]:
        year, month, day = parts[0:3]
    elif parts[3]:
        month, day, year = parts[3:6]
    else:
        day, month, year = parts[6:9]
    hour, minute, second, fraction = parts[9:]
    time = int(hour or 0), int(minute or 0), int(second or 0), int(f"{fraction:0<6.6}")
    try:
        value = datetime(_full_year(year), int(month), int(day), *time)  # noqa: DTZ001 - the clock of the shop
    except ValueError:
        raise BadValueError(f"'{shown(cell)}' is not a date") from None
    if value.year not in YEARS:
        raise BadValueError(f"'{shown(cell)}' is not between the years {YEARS[0]} and {YEARS[-1]}")
    return value


def _full_year(year: str) -> int:
    """Two digits are from 1969 to 2068, as in POSIX' `strptime`."""
    if len(year) == len("2010"):
        return int(year)
    return int(year) + (2000 if int(year) <= 68 else 1900)
