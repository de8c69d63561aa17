"""What is read as rows: encodings, delimiters, line ends, quotes, headers; and what is refused as a whole."""

import csv
import io
import re
import tracemalloc
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.sales.rows import SalesRow
from src.sales.sales_file import SalesFile, UnreadableFile
from src.sales.schemas import RowError
from tests.sales.hostile_files import UNREADABLE
from tests.sales.sales_csv import HEADER, ROW, accepted, read, rejected, row_with, sales_file

GOOD = SalesRow.model_construct(
    line=2,
    invoice="536365",
    stock_code="85123A",
    description="WHITE HANGING HEART",
    quantity=6,
    invoiced_at=datetime(2010, 12, 1, 8, 26),  # noqa: DTZ001
    unit_price=Decimal("2.55"),
    customer_id="17850",
    country="United Kingdom",
)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n  \n,,,\n", "sep=;\r\n", '"SEP=;"\n'])
def test_the_header_decides_the_delimiter(delimiter: str, before: str) -> None:
    content = (before + f"{HEADER}\n{ROW}\n").replace(",", delimiter).replace("=;", f"={delimiter}")
    assert [row.model_copy(update={"line": 2}) for row in accepted(content)] == [GOOD]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("chunk_size", [300, 301, 302, 307, 1 << 18])
def test_line_ends_and_chunks_make_no_difference(end: str, chunk_size: int) -> None:
    content = f"{HEADER}\n\n" + f"{ROW}\n{row_with(Description='CAFÉ' + chr(10) + 'SIGN')}\n \n" * 20 + ROW
    rows = list(sales_file(content.replace("\n", end), chunk_size).rows())
    assert [row.line for row in rows] == [line for n in range(20) for line in (3 + 4 * n, 4 + 4 * n)] + [83]
    assert {getattr(row, "description", None) for row in rows} == {"WHITE HANGING HEART", "CAFÉ\nSIGN"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_utf_8_with_or_without_a_mark_and_windows_1252(encoding: str) -> None:
    content = f"{HEADER}\n" + row_with(Description="CAFÉ … 5 €", Country="Österreich")
    (row,) = accepted(content.encode(encoding))
    assert (row.description, row.country) == ("CAFÉ … 5 €", "Österreich")


def test_the_last_byte_of_a_file_may_show_that_it_is_windows_1252() -> None:
    content = f"{HEADER}\n{row_with(Description='CAFÉ')}\n{ROW}".encode() + b"\xc9"
    assert accepted(content)[0].description == "CAFÃ‰"


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""], ids=["UTF-8", "Windows-1252"])
def test_a_byte_without_a_meaning_rejects_only_its_row(start: bytes) -> None:
    bad = row_with(Description="CAF#").encode().replace(b"#", b"\x81\xe9")
    content = start + b"\n".join([HEADER.encode(), ROW.encode(), bad, ROW.encode()])
    ((line, column, reason),) = rejected(content)
    assert (line, column) == (3, "Description")
    assert reason.endswith("contains bytes that are not valid text")


def test_columns_may_have_any_order_case_and_alias() -> None:
    content = (
        "\ufeff country ;Customer ID;PRICE;Comment;invoicedate;QUANTITY;Stock_Code;Invoice\n"
        "France;12583.0;3,75;\x07;12/1/10 8:45;24;22728;536370\nFrance;;1;;x;1;1;1\n"
    )
    row = next(sales_file(content).rows())
    assert isinstance(row, SalesRow)
    assert (row.invoice, row.stock_code, row.description, row.quantity) == ("536370", "22728", "", 24)
    assert (row.customer_id, row.country, str(row.unit_price)) == ("12583", "France", "3.75")
    assert rejected(content)[0][:2] == (3, "invoicedate")


def test_a_header_may_have_line_breaks_in_quotes() -> None:
    for delimiter in ",;\t":
        content = (
            '"Invoice\nNo","Stock\nCode",Quantity,InvoiceDate,Price,Country\nC1,A,-1,2010-12-01,2,EIRE\n'
        )
        (row,) = accepted(content.replace(",", delimiter))
        assert (row.line, row.invoice) == (4, "C1")


def test_a_row_needs_all_columns_and_nothing_beyond_them() -> None:
    rows = ["1,2,3,4", ROW, f"{ROW},, ", f"{ROW},,x", ",,,,,,,"]
    assert rejected("\n".join([HEADER, *rows])) == [
        (2, "InvoiceDate", "the row has 4 cells, the header 8"),
        (5, None, "the row has 10 cells, the header 8"),
        (6, "InvoiceNo", "is empty"),
    ]
    assert len(accepted(f"{HEADER},,\n{ROW}\n{ROW},\n{ROW},,note\n")) == 3


def test_rows_are_counted_up_to_a_limit() -> None:
    file = sales_file(f"{HEADER}\n{ROW}\nnonsense\n{ROW}\n")
    assert file.count_rows(limit=3) == 3
    with pytest.raises(UnreadableFile, match="more than 2 rows: reading stopped at line 4, and no row was"):
        file.count_rows(limit=2)
    assert read(HEADER) == read(f"{HEADER}\r\n") == []


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_no_more_of_a_file_is_read_than_its_limit_allows_even_if_its_lines_are_blank(end: str) -> None:
    taken = 0

    def open_chunks() -> Iterator[bytes]:
        nonlocal taken
        for chunk in (f"{HEADER}{end}".encode(), *[end.encode() * 10] * 1000):
            taken += 1
            yield chunk

    file, taken = SalesFile(open_chunks), 0
    with pytest.raises(UnreadableFile, match="more than 100 rows: reading stopped at line 111"):
        file.count_rows(limit=100)
    assert taken == 12


def test_only_the_beginning_of_a_file_is_searched_for_a_header() -> None:
    taken: list[int] = []

    def open_chunks() -> Iterator[bytes]:
        taken.append(0)
        for _ in range(10):
            taken[-1] += 1
            yield b"x\n" * 2000

    with pytest.raises(UnreadableFile, match="The first line does not name"):
        list(SalesFile(open_chunks).rows())
    assert taken[1:] == [1, 1], "the first time, all of it is decoded"


SPLIT = f'1,A,"OPEN,1,2010-12-01,1,,X\n2,A,"X",1,2010-12-01,1,,X\n{ROW}'


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ('1,"OPEN,2', "In line 3, a quote is opened and never closed; close it."),
        ('1,"OPEN,2\n' + f"{ROW}\n" * 500, "In line 3, a quote is opened"),
        (SPLIT, "In line 3, a quote is opened"),
        ('1,"' + "\n" * 100 + '",2', "In line 3, a quote is opened"),
        ('1,"' + ("x" * 50_000 + "\n") * 3 + '",2', "In line 3, a quote is opened"),
        ("x" * 65_537, "Line 3 is longer than 64 KiB; shorten or remove it."),
        ("x" * (5 << 20) + f"\n{ROW}", "Line 3 is longer than 64 KiB"),
    ],
    ids=["at-the-end", "500-rows", "closed-by-another", "100-lines", "150-kb", "long", "very-long"],
)
def test_a_file_that_cannot_be_split_into_rows_is_refused_with_the_line(rows: str, reason: str) -> None:
    file = sales_file(f"{HEADER}\n{ROW}\n{rows}\n")
    with pytest.raises(UnreadableFile) as error:
        file.count_rows(limit=1000)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_not_a_table_is_refused_with_a_sentence(name: str) -> None:
    make, reason = UNREADABLE[name]
    with pytest.raises(UnreadableFile) as error:
        sales_file(make()).count_rows(limit=10_000)
    sentence = str(error.value)
    assert reason in sentence
    assert re.search(r"[;:,.] .+\.$", sentence), "it says what to do"
    assert sentence.isprintable()
    assert len(sentence) < 250


def test_what_the_source_raises_gets_through() -> None:
    opened = 0

    def open_chunks() -> Iterator[bytes]:
        nonlocal opened
        opened += 1
        yield f"{HEADER}\n{ROW}\n".encode() * 1000
        if opened > 2:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        SalesFile(open_chunks).count_rows(limit=5000)


def test_many_rows_and_lines_without_end_take_little_memory() -> None:
    def open_chunks() -> Iterator[bytes]:
        yield f"{HEADER}\n".encode()
        for _ in range(5):
            yield f"{ROW}\n{row_with(Quantity='x')}\n".encode() * 200
        yield from [b"x" * 65536] * 500

    file = SalesFile(open_chunks)
    tracemalloc.start()
    try:
        rows = file.rows()
        with pytest.raises(UnreadableFile, match="Line 2002 is longer"):
            for _ in rows:
                pass
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


PIECES = [f"{ROW}\n", f"{HEADER}\n", "\n", "\r", "\r\n", '"', '"OPEN\n', ",", ";", "é", "\0", "\x81", "1"]
ALMOST_CSV = st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join)
ALMOST_FILES = st.binary() | st.builds(
    lambda header, content: (header + content).encode("utf-8", "surrogatepass"),
    st.sampled_from(["", f"{HEADER}\n", f"{HEADER}\n{ROW}\n" * 90]),
    ALMOST_CSV,
)


@given(ALMOST_FILES)
def test_any_bytes_are_read_or_refused_and_as_many_rows_come_as_were_counted(data: bytes) -> None:
    try:
        rows = read(data)
    except UnreadableFile:
        return
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    assert all(row.reason.isprintable() for row in rows if isinstance(row, RowError))


@given(
    texts=st.lists(
        st.text(st.characters(codec="cp1252", exclude_categories=["Cc"]) | st.sampled_from(',;\t"\n'))
    ),
    delimiter=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_a_csv_writer_writes_reads_back(
    texts: list[str], delimiter: str, line_end: str, quoting: Literal[0, 1]
) -> None:
    content = io.StringIO(newline="")
    writer = csv.writer(content, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
    writer.writerow(HEADER.split(","))
    for text in texts:
        cell = text.replace("\n", line_end)
        writer.writerow(["1", "A", cell, 6, "2010-12-01", "2.55", "", "France"])
    rows = accepted(content.getvalue())
    assert [row.description for row in rows] == [text.strip() for text in texts]
