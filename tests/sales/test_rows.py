"""What the cells of a row may hold, and the reasons for which a row is rejected."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.sales.sales_csv import COLUMNS, HEADER, accepted, read, rejected, row_with

MORNING = datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001
NOT_A_DATE = "is not a date from 1900 to 2099, such as 2010-12-31 13:30, without a time zone"


def value(column: str, cell: str, field: str, **cells: str) -> Any:
    (row,) = accepted(f"{HEADER}\n{row_with(**{column: cell}, **cells)}\n")
    return getattr(row, field)


@pytest.mark.parametrize(
    "cell",
    [
        "2010-12-01 08:26:00",
        "2010-12-01T08:26",
        "2010-12-01T08:26:00.000",
        "2010-12-1 8:26",
        "12/1/2010 8:26",
        "12/01/2010 08:26:00",
        "12/1/10 8:26",
        "01-12-10 8:26",
        "01-12-2010   08:26:00",
        "  2010-12-01 08:26 \u00a0",
    ],
)
def test_a_date_may_be_written_in_many_ways(cell: str) -> None:
    assert value("InvoiceDate", cell, "invoiced_at") == MORNING


def test_a_date_needs_no_time_and_keeps_microseconds() -> None:
    for cell in ("2010-12-01", "12/1/2010", "12/1/10", "01-12-2010", "1-12-10"):
        assert value("InvoiceDate", cell, "invoiced_at") == MORNING.replace(hour=0, minute=0)
    for fraction, microsecond in ((".5", 500_000), (",25", 250_000), (".000001", 1), (".123456789", 123_456)):
        date = value("InvoiceDate", f"2010-12-01 08:26:00{fraction}", "invoiced_at")
        assert date == MORNING.replace(microsecond=microsecond)


@pytest.mark.parametrize(("year", "full"), [("00", 2000), ("68", 2068), ("69", 1969), ("99", 1999)])
def test_a_year_of_two_digits_is_from_1969_to_2068(year: str, full: int) -> None:
    assert value("InvoiceDate", f"12/1/{year}", "invoiced_at").year == full
    assert value("InvoiceDate", f"01-12-{year}", "invoiced_at").year == full


@pytest.mark.parametrize(
    ("cell", "number"), [("6", 6), ("6.0", 6), ("+6", 6), (" -6 ", -6), ("-6.00", -6), ("1000000000", 10**9)]
)
def test_a_quantity_is_a_whole_number(cell: str, number: int) -> None:
    assert value("Quantity", cell, "quantity", UnitPrice="0.01") == number


@pytest.mark.parametrize(
    ("cell", "price"),
    [
        ("2.", "2"),
        (".5", "0.5"),
        ("-11062.06", "-11062.06"),
        ("-0.0", "0"),
        ("0.000001", "0.000001"),
        ("1.2500000000", "1.25"),
        ("99999999.999999", "99999999.999999"),
    ],
)
def test_a_price_is_exact(cell: str, price: str) -> None:
    assert value("UnitPrice", cell, "unit_price", Quantity="1") == Decimal(price)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_comma_is_a_decimal_comma_between_other_delimiters(delimiter: str) -> None:
    def with_price(price: str) -> str:
        return f"{HEADER}\n{row_with(UnitPrice='#')}\n".replace(",", delimiter).replace("#", price)

    for price in ("2,55", "2.55"):
        assert accepted(with_price(price))[0].unit_price == Decimal("2.55")
    for wrong in ("1,234.56", "1.234,56", "1,2,3"):
        assert rejected(with_price(wrong)) == [(2, "UnitPrice", f"'{wrong}' is not a number")]


def test_codes_lose_the_decimals_that_a_spreadsheet_added() -> None:
    codes = {"536365.0": "536365", " 22728.0": "22728", "85123A.0": "85123A.0", "007": "007"}
    fields = {"InvoiceNo": "invoice", "StockCode": "stock_code", "CustomerID": "customer_id"}
    for cell, code in codes.items():
        assert [value(column, cell, field) for column, field in fields.items()] == [code] * 3


def test_description_and_customer_may_be_empty_and_other_columns_may_not() -> None:
    assert value("Description", " ", "description") == value("CustomerID", "", "customer_id") == ""
    for column in {*COLUMNS} - {"Description", "CustomerID"}:
        for cell in ("", "  ", '""', "\u00a0"):
            assert rejected(f"{HEADER}\n{row_with(**{column: '#'}).replace('#', cell)}\n") == [
                (2, column, "is empty")
            ]


def test_tabs_line_breaks_and_quotes_are_text() -> None:
    for cell in ('SIGN, "OPEN"', "A\tB\nC", '6" NAIL'):
        assert value("Description", cell, "description") == cell


LIMITS = {"InvoiceNo": 64, "StockCode": 64, "CustomerID": 64, "Country": 100, "Description": 1000}
NO_NUMBERS = ["abc", "nan", "-Infinity", "1_000", "\N{ARABIC-INDIC DIGIT SIX}", "\N{MINUS SIGN}6", "0x10"]
NO_NUMBERS += ["1e3", "--1", "-", "6 5", "1,000", "£2", "1.2.3", ".", "=1+1", "9" * 65]
NO_DATES = ["13/45/2010", "31/12/2010 8:26", "2010-02-29", "2010-12-01 24:00", "2010-12-01 08:26:60"]
NO_DATES += [
    "2010-12",
    "2010-12-01 8:26 AM",
    "12/1/010",
    "0000-01-01",
    "1899-12-31",
    "2100-01-01",
    "40513.35",
]
NO_DATES += ["1.12.2010", "2010-12-01T08:26Z", "2010-12-01 08:26+01:00", "2010-12-01 08:26 CET", "yesterday"]

BAD = [
    *[("Quantity", cell, "is not a number") for cell in NO_NUMBERS],
    *[("UnitPrice", cell, "is not a number") for cell in NO_NUMBERS],
    *[("InvoiceDate", cell, NOT_A_DATE) for cell in NO_DATES],
    ("Quantity", "6.5", "is not a whole number"),
    ("Quantity", "1000000001", "is above 1,000,000,000"),
    ("Quantity", "-" + "9" * 30, "is below -1,000,000,000"),
    ("UnitPrice", "99999999", "times the quantity is beyond 100,000,000"),
    ("UnitPrice", "-100000001", "times the quantity is beyond 100,000,000"),
    ("UnitPrice", "1.0000001", "has more than 6 decimals"),
    *[("Description", f"a{char}b", "has a control character") for char in "\0\x01\x0b\x1b\x7f\x85"],
    *[(column, "é" * (limit + 1), f"is longer than {limit} characters") for column, limit in LIMITS.items()],
]


@pytest.mark.parametrize(("column", "cell", "reason"), BAD, ids=[f"{b[0]}-{b[1][:20]!a}" for b in BAD])
def test_a_bad_cell_rejects_its_row_with_line_column_and_reason(column: str, cell: str, reason: str) -> None:
    good = row_with()
    ((line, name, said),) = rejected("\n".join([HEADER, *[good] * 300, row_with(**{column: cell}), good]))
    assert (line, name) == (302, column)
    assert said.endswith(reason)
    assert len(said) < 130


def test_text_may_be_as_long_as_the_limit() -> None:
    for column, limit in LIMITS.items():
        assert len(read(f"{HEADER}\n{row_with(**{column: ' ' + 'é' * limit})}\n")) == 1


@pytest.mark.parametrize("column", ["Quantity", "InvoiceDate", "UnitPrice"])
def test_a_reason_quotes_little_and_only_what_is_printable(column: str) -> None:
    ((_, _, reason),) = rejected(f"{HEADER}\n{row_with(**{column: chr(0x202E) + 'x' * 60_000})}\n")
    assert reason.startswith("'�xxx")
    assert "x…' is " in reason
