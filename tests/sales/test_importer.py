"""What the importer takes for rows: encodings, delimiters, line ends, quotes, lines that are no rows."""

import tracemalloc
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import pytest

from src.sales.csv_records import BLOCK_BYTES
from src.sales.importer import RejectedRow, SalesFile, SalesRow
from tests.sales.sales_csv import HEADER, ROW, accepted, read, row_with, sales_file

GOOD = SalesRow(
    line=2,
    invoice="536365",
    stock_code="85123A",
    description="WHITE HANGING HEART",
    quantity=6,
    invoiced_at=datetime(2010, 12, 1, 8, 26),  # noqa: DTZ001 - the clock of the shop
    unit_price=Decimal("2.55"),
    customer_id="17850",
    country="United Kingdom",
)
NEVER_CLOSED = "a quote is opened and never closed"


def lines_and_reasons(content: str | bytes) -> list[tuple[int, str | None]]:
    """Where each row starts, and why it is rejected if it is."""
    return [(row.line, row.reason if isinstance(row, RejectedRow) else None) for row in read(content)]


def test_a_row_comes_out_as_it_stands_in_the_file() -> None:
    assert read(f"{HEADER}\n{ROW}\n") == [GOOD]


def test_rows_are_counted_before_they_are_read_and_rejected_ones_count() -> None:
    file = sales_file(f"{HEADER}\n{ROW}\nnonsense\n{ROW}\n")
    assert file.count_rows() == 3
    assert [type(row) for row in file.rows()] == [SalesRow, RejectedRow, SalesRow]


def test_rows_can_be_read_again_and_without_counting() -> None:
    file = sales_file(f"{HEADER}\n{ROW}\n")
    assert list(file.rows()) == list(file.rows()) == [GOOD]


def test_a_header_alone_has_no_rows() -> None:
    assert read(HEADER) == read(f"{HEADER}\r\n") == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 1000])
def test_any_line_end_in_any_chunks(end: str, chunk_size: int) -> None:
    quoted = row_with(Description='"CAFÉ\nSIGN"')
    content = f"{HEADER}\n\n{ROW}\n{quoted}\n{ROW}".replace("\n", end)
    rows = list(sales_file(content, chunk_size).rows())
    assert [(row.line, row.description) for row in rows if isinstance(row, SalesRow)] == [
        (3, "WHITE HANGING HEART"),
        (4, "CAFÉ\nSIGN"),
        (6, "WHITE HANGING HEART"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_it_does_not_matter_where_the_importer_cuts_a_file(end: str) -> None:
    row = row_with(Description='"É\nÉ"').replace("\n", end) + end
    count = 1 + BLOCK_BYTES // len(row)
    for pad in range(len(row.encode())):
        rows = accepted(f"{HEADER}{end}{' ' * pad}{end}" + row * count)
        assert [row.line for row in rows] == list(range(3, 3 + 2 * count, 2))
        assert {row.description for row in rows} == {"É\nÉ"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_utf_8_with_or_without_a_mark_and_windows_1252(encoding: str) -> None:
    content = f"{HEADER}\n" + row_with(Description="CAFÉ … 5 €", Country="Österreich")
    assert [(row.description, row.country) for row in accepted(content.encode(encoding))] == [
        ("CAFÉ … 5 €", "Österreich")
    ]


def test_the_last_byte_of_a_file_may_tell_that_it_is_windows_1252() -> None:
    content = f"{HEADER}\n{row_with(Description='CAFÉ')}\n".encode("cp1252") + f"{ROW}\n".encode() * 2000
    assert accepted(content)[0].description == "CAFÉ"
    as_utf8 = f"{HEADER}\n{row_with(Description='CAFÉ')}\n{ROW}".encode()
    assert accepted(as_utf8)[0].description == "CAFÉ"
    assert accepted(as_utf8 + b"\xc9")[0].description == "CAFÃ‰"


@pytest.mark.parametrize("byte", [0x81, 0x8D, 0x8F, 0x90, 0x9D])
def test_a_byte_without_a_meaning_rejects_its_row_only(byte: int) -> None:
    bad = row_with(Description="CAF#").encode().replace(b"#", bytes([byte, 0xE9]))
    rows = read(b"\n".join([HEADER.encode(), ROW.encode(), bad, ROW.encode()]))
    assert isinstance(rows[0], SalesRow)
    assert rows[1] == RejectedRow(3, "Description", "holds a byte that stands for no character")
    assert isinstance(rows[2], SalesRow)


def test_a_file_marked_as_utf_8_stays_utf_8_around_a_broken_character() -> None:
    content = f"{HEADER}\n{row_with(Country='Österreich')}\n{row_with(Country='#')}".encode("utf-8-sig")
    rows = read(content.replace(b"#", b"\xff"))
    assert isinstance(rows[0], SalesRow)
    assert rows[0].country == "Österreich"
    assert rows[1] == RejectedRow(3, "Country", "holds a byte that stands for no character")


def test_a_nul_byte_far_down_rejects_its_row_only() -> None:
    bad = row_with(Description="\0")
    rows = read("\n".join([HEADER, *[ROW] * 200, bad, ROW]))
    assert [row for row in rows if isinstance(row, RejectedRow)] == [
        RejectedRow(202, "Description", "holds a NUL byte")
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_header_tells_the_delimiter(delimiter: str) -> None:
    content = f"{HEADER}\n{ROW}\n".replace(",", delimiter)
    assert read(content) == [GOOD]


def test_a_delimiter_of_another_kind_is_text() -> None:
    assert accepted(f"{HEADER}\n{row_with(Description='A;B')}\n")[0].description == "A;B"


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=,", "\ufeffsep=;"])
def test_the_separator_line_of_excel_is_no_header(first: str) -> None:
    (row,) = accepted(f"{first}\r\n{HEADER}\r\n{ROW}\r\n".replace(",", ";"))
    assert row.line == 3


def test_blank_lines_are_no_rows_but_lines() -> None:
    content = f"\n  \n,,,\n\n{HEADER}\n\n{ROW}\n   \n\t\n{ROW}\n\n"
    assert [row.line for row in accepted(content)] == [7, 10]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_row_of_delimiters_only_is_a_rejected_row(delimiter: str) -> None:
    content = f"{HEADER}\n,,,,,,,\n,,\n{ROW}".replace(",", delimiter)
    assert lines_and_reasons(content) == [
        (2, "is empty"),
        (3, "is missing: the row has 3 cells, the header 8"),
        (4, None),
    ]


def test_too_few_cells_name_the_first_missing_column() -> None:
    assert read(f"{HEADER}\n1,2,3,4\n") == [
        RejectedRow(2, "InvoiceDate", "is missing: the row has 4 cells, the header 8")
    ]


def test_surplus_cells_must_be_empty() -> None:
    assert lines_and_reasons(f"{HEADER}\n{ROW},, \n{ROW},,x\n") == [
        (2, None),
        (3, "the row has 10 cells, the header 8"),
    ]


def test_cells_under_a_header_without_a_name_are_ignored_and_may_be_missing() -> None:
    assert len(accepted(f"{HEADER},,\n{ROW}\n{ROW},\n{ROW},,note\n")) == 3


def test_quotes_read_as_in_python_s_csv() -> None:
    cells = {'"SIGN, ""OPEN"""': 'SIGN, "OPEN"', '6" NAIL': '6" NAIL', '"RED" SIGN': "RED SIGN", '""': None}
    content = "\n".join([HEADER, *(row_with(Description=cell) for cell in cells)])
    assert [row.description for row in accepted(content)] == list(cells.values())


def test_line_numbers_are_those_of_the_file_also_after_quoted_line_breaks() -> None:
    quoted = row_with(Description='"ONE\n\nTHREE"')
    assert [row.line for row in accepted(f"{HEADER}\n{quoted}\n{quoted}\n{ROW}")] == [2, 5, 8]


@pytest.mark.parametrize("after", [0, 50, 98, 99, 500])
def test_a_quote_that_never_closes_costs_one_row(after: int) -> None:
    content = "\n".join([HEADER, row_with(Description='"OPEN'), *[ROW] * after])
    assert lines_and_reasons(content) == [(2, NEVER_CLOSED), *((3 + n, None) for n in range(after))]


def test_a_quote_that_never_closes_does_not_take_the_quotes_of_later_rows_for_its_end() -> None:
    quoted = row_with(Description='"SIGN, ""OPEN"""')
    broken = row_with(Description='"ONE\nTWO"')
    content = "\n".join([HEADER, row_with(Description='"OPEN'), ROW, broken, quoted, quoted])
    assert [line for line, _ in lines_and_reasons(content)] == [2, 3, 4, 6, 7]
    assert [line for line, reason in lines_and_reasons(content) if reason] == [2]


def test_every_quote_that_never_closes_costs_one_row() -> None:
    leaves_open_and_closes_none = '6","""'
    content = "\n".join([HEADER, *[leaves_open_and_closes_none] * 300, ROW])
    assert lines_and_reasons(content) == [*((2 + n, NEVER_CLOSED) for n in range(300)), (302, None)]


def test_a_record_spans_at_most_100_lines() -> None:
    cell = '"' + "\n" * 99 + '"'
    assert len(accepted(f"{HEADER}\n{row_with(Description=cell)}\n{ROW}")) == 2
    cell = '"' + "\n" * 100 + '"'
    assert lines_and_reasons(f"{HEADER}\n{row_with(Description=cell)}\n{ROW}")[0] == (2, NEVER_CLOSED)


def test_a_record_of_several_lines_has_at_most_64_kib() -> None:
    def record(size: int) -> str:
        start = ROW + ',"\n'
        return start + "x" * (size - len(start) - 1) + '"'

    assert len(accepted(f"{HEADER},Notes\n{record(65536)}")) == 1
    assert lines_and_reasons(f"{HEADER},Notes\n{record(65537)}")[0] == (2, NEVER_CLOSED)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_has_at_most_64_kib(end: str) -> None:
    fits = ROW + "," + "x" * (65536 - len(ROW) - 1)
    content = end.join([f"{HEADER},Notes", fits, fits + "x", fits * 3, fits, ROW + ","])
    too_long = "the line is longer than 64 KiB"
    assert lines_and_reasons(content) == [(2, None), (3, too_long), (4, too_long), (5, None), (6, None)]


def test_a_line_without_an_end_takes_no_memory() -> None:
    def open_chunks() -> Iterator[bytes]:
        yield f"{HEADER}\n{ROW}\n".encode()
        for _ in range(50 * 16):
            yield b"x" * 65536
        yield f"\n{ROW}\n".encode()

    file = SalesFile(open_chunks)
    tracemalloc.start()
    try:
        assert file.count_rows() == 3
        assert [type(row) for row in file.rows()] == [SalesRow, RejectedRow, SalesRow]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_many_rows_take_no_memory() -> None:
    def open_chunks() -> Iterator[bytes]:
        yield f"{HEADER}\n".encode()
        for number in range(100):
            bad = row_with(InvoiceNo=str(number), UnitPrice=str(number), Quantity="x")
            yield f"{ROW}\n{bad}\n".encode() * 100

    file = SalesFile(open_chunks)
    tracemalloc.start()
    try:
        assert file.count_rows() == sum(1 for _ in file.rows()) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
