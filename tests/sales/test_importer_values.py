"""What the cells of a row may hold, and the reasons for which they may not."""

from datetime import datetime
from decimal import Decimal

import pytest

from tests.sales.sales_csv import COLUMNS, HEADER, accept_row, accepted, read, reject_row, row_with

MORNING = datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001 - the clock of the shop

NO_NUMBERS = ["abc", "nan", "inf", "-Infinity", "1_000", "\N{ARABIC-INDIC DIGIT SIX}", "\N{MINUS SIGN}6"]
NO_NUMBERS += ["0x10", "1e3", "1E+3", "--1", "-", "6 5"]


@pytest.mark.parametrize(
    "spelling",
    [
        "2010-12-01 08:26:00",
        "2010-12-01 08:26",
        "2010-12-01T08:26",
        "2010-12-01T08:26:00.000",
        "2010-12-1 8:26",
        "12/1/2010 8:26",
        "12/01/2010 08:26:00",
        "12/1/10 8:26",
        "12/1/2010T8:26",
        "01-12-10 8:26",
        "1-12-10 8:26",
        "01-12-2010 08:26:00",
        "01-12-2010   8:26",
        "  2010-12-01 08:26 \u00a0",
    ],
)
def test_a_date_may_be_spelled_in_many_ways(spelling: str) -> None:
    assert accept_row(InvoiceDate=spelling).invoiced_at == MORNING


@pytest.mark.parametrize("spelling", ["2010-12-01", "12/1/2010", "12/1/10", "01-12-2010", "1-12-10"])
def test_a_date_may_have_no_time(spelling: str) -> None:
    assert accept_row(InvoiceDate=spelling).invoiced_at == MORNING.replace(hour=0, minute=0)


@pytest.mark.parametrize(
    ("spelling", "microsecond"),
    [("1.5", 500_000), ("1,25", 250_000), ("1.000001", 1), ("1.123456789", 123_456)],
)
def test_fractions_of_a_second_are_kept_to_the_microsecond(spelling: str, microsecond: int) -> None:
    at = accept_row(InvoiceDate=f'"2010-12-01 08:26:0{spelling}"').invoiced_at
    assert at == MORNING.replace(second=1, microsecond=microsecond)


@pytest.mark.parametrize(("year", "full"), [("00", 2000), ("68", 2068), ("69", 1969), ("99", 1999)])
def test_two_digits_of_a_year_are_from_1969_to_2068(year: str, full: int) -> None:
    assert accept_row(InvoiceDate=f"12/1/{year}").invoiced_at.year == full
    assert accept_row(InvoiceDate=f"01-12-{year}").invoiced_at.year == full


@pytest.mark.parametrize(
    "spelling",
    [
        "13/45/2010",
        "31/12/2010 8:26",
        "12-31-2010 8:26",
        "2010-02-29",
        "2010-12-01 24:00",
        "2010-12-01 08:60",
        "2010-12-01 08:26:60",
        "2010-12-01 8:26 AM",
        "2010-12-01T",
        "2010-12",
        "12/1/010",
        "0000-01-01",
        "40513.35",
        "1.12.2010",
        "\N{FULLWIDTH DIGIT TWO}010-12-01",
        "yesterday",
    ],
)
def test_what_is_not_a_date_is_named(spelling: str) -> None:
    assert reject_row(InvoiceDate=spelling) == ("InvoiceDate", f"'{spelling}' is not a date")


@pytest.mark.parametrize("zone", ["Z", "+00:00", "+01", "-0500", " UTC", " CET", "UTC+1"])
def test_a_time_zone_is_refused(zone: str) -> None:
    column, reason = reject_row(InvoiceDate=f"2010-12-01T08:26:00{zone}")
    assert (column, reason) == (
        "InvoiceDate",
        f"'2010-12-01T08:26:00{zone}' has a time zone; write the time of day without one",
    )


@pytest.mark.parametrize("spelling", ["1899-12-31", "2101-01-01", "1/1/0001"])
def test_a_date_is_from_1900_to_2100(spelling: str) -> None:
    assert reject_row(InvoiceDate=spelling)[1] == f"'{spelling}' is not between the years 1900 and 2100"
    assert accept_row(InvoiceDate="1900-01-01")
    assert accept_row(InvoiceDate="2100-12-31 23:59:59")


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("6", 6),
        ("6.0", 6),
        ("+6", 6),
        (" -6 ", -6),
        ("-6.00", -6),
        ("0" * 5000 + "7", 7),
        ("1000000000", 10**9),
    ],
)
def test_a_quantity_is_a_whole_number(cell: str, number: int) -> None:
    assert accept_row(Quantity=cell, UnitPrice="0.01").quantity == number


@pytest.mark.parametrize("cell", [*NO_NUMBERS, "6.5", "²", '"1,000"'])
def test_what_is_not_a_whole_number_is_named(cell: str) -> None:
    assert reject_row(Quantity=cell) == ("Quantity", f"'{cell.strip(chr(34))}' is not a whole number")


@pytest.mark.parametrize("cell", ["1000000001", "-1000000001", "9" * 30])
def test_a_quantity_is_at_most_a_thousand_million(cell: str) -> None:
    assert reject_row(Quantity=cell) == ("Quantity", f"'{cell}' is beyond 1,000,000,000")


@pytest.mark.parametrize(
    ("cell", "price"),
    [
        ("2.55", "2.55"),
        ("2", "2"),
        ("2.", "2"),
        (".5", "0.5"),
        ("-11062.06", "-11062.06"),
        ("+1", "1"),
        ("0", "0"),
        ("-0.0", "0"),
        ("0.000001", "0.000001"),
        ("1.2500000000", "1.25"),
        ("999999999.999999", "999999999.999999"),
        ("000000000000001.5", "1.5"),
    ],
)
def test_a_price_is_exact(cell: str, price: str) -> None:
    exact = accept_row(UnitPrice=cell, Quantity="1").unit_price
    assert exact == Decimal(price)
    assert not (exact == 0 and exact.is_signed())


@pytest.mark.parametrize("cell", [*NO_NUMBERS, "£2.55", "1.2.3", ".", '"2,55"', '"1,234.56"'])
def test_what_is_not_a_price_is_named(cell: str) -> None:
    assert reject_row(UnitPrice=cell) == ("UnitPrice", f"'{cell.strip(chr(34))}' is not a price")


def test_a_price_has_limits() -> None:
    assert reject_row(UnitPrice="1.0000001") == ("UnitPrice", "'1.0000001' has more than 6 decimals")
    assert reject_row(UnitPrice="-1000000000") == ("UnitPrice", "'-1000000000' is not below 1,000,000,000")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_decimal_comma_is_a_comma_between_other_delimiters(delimiter: str) -> None:
    def file_with(price: str) -> str:
        return f"{HEADER}\n{row_with(UnitPrice='#')}\n".replace(",", delimiter).replace("#", price)

    assert accepted(file_with("2,55"))[0].unit_price == Decimal("2.55")
    assert accepted(file_with("2.55"))[0].unit_price == Decimal("2.55")
    for wrong in ("1,234.56", "1.234,56", "1,2,3"):
        (row,) = read(file_with(wrong))
        assert getattr(row, "reason", None) == f"'{wrong}' is not a price"


def test_an_amount_has_a_limit() -> None:
    assert accept_row(Quantity="-1000000000", UnitPrice="10")
    column, reason = reject_row(Quantity="1000000000", UnitPrice="10.000001")
    assert column == "Quantity"
    assert reason == "1,000,000,000 pieces at this price are beyond an amount of 10,000,000,000"


def test_codes_lose_the_decimals_of_a_spreadsheet() -> None:
    row = accept_row(InvoiceNo="536365.0", StockCode=" 22728.0", CustomerID="17850.0")
    assert (row.invoice, row.stock_code, row.customer_id) == ("536365", "22728", "17850")
    row = accept_row(InvoiceNo="C536365", StockCode="85123A.0", CustomerID="007")
    assert (row.invoice, row.stock_code, row.customer_id) == ("C536365", "85123A.0", "007")


def test_description_and_customer_may_be_empty() -> None:
    row = accept_row(Description=" ", CustomerID="")
    assert (row.description, row.customer_id) == (None, None)


@pytest.mark.parametrize("column", sorted({*COLUMNS} - {"Description", "CustomerID"}))
@pytest.mark.parametrize("cell", ["", "  ", '""', "\u00a0"])
def test_all_other_columns_must_be_filled(column: str, cell: str) -> None:
    assert reject_row(**{column: cell}) == (column, "is empty")


@pytest.mark.parametrize(
    ("column", "limit"),
    [("InvoiceNo", 64), ("StockCode", 64), ("CustomerID", 64), ("Country", 100), ("Description", 1000)],
)
def test_text_has_a_longest_length(column: str, limit: int) -> None:
    assert accept_row(**{column: " " + "é" * limit})
    assert reject_row(**{column: "é" * (limit + 1)}) == (column, f"is longer than {limit} characters")


@pytest.mark.parametrize("character", ["\x01", "\x0b", "\x1b", "\x1f", "\x7f", "\x85", "\x9f"])
def test_control_characters_reject_the_row(character: str) -> None:
    assert reject_row(Description=character) == (
        "Description",
        f"holds the control character U+{ord(character):04X}",
    )


def test_tabs_and_line_breaks_are_text() -> None:
    assert accept_row(Description='"A\tB\nC"').description == "A\tB\nC"


@pytest.mark.parametrize("column", ["Quantity", "InvoiceDate", "UnitPrice"])
def test_a_reason_quotes_little_and_only_what_prints(column: str) -> None:
    _, reason = reject_row(**{column: "\u202e" + "x" * 60_000})
    assert reason.startswith("'�xxx")
    assert "x…' is " in reason
    assert len(reason) < 80
