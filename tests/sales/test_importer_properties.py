"""What holds for the importer with every file, tried on many."""

import csv
import io
from collections.abc import Callable
from dataclasses import astuple, replace
from datetime import datetime
from decimal import Decimal

from hypothesis import assume, example, given
from hypothesis import strategies as st

from src.sales.importer import RejectedRow, SalesFile, SalesRow, UnreadableFile
from tests.sales.sales_csv import COLUMNS, HEADER, ROW, accepted, read, row_with, sales_file

# What Windows-1252 can write as well.
CHARACTERS = st.characters(codec="cp1252", exclude_categories=["Cc"])


def text(most: int, also: str = "", least: int = 1) -> st.SearchStrategy[str]:
    """Text with delimiters, quotes and line breaks more often than chance would put them."""
    return st.text(CHARACTERS | st.sampled_from(",;\t\"'" + also), min_size=least, max_size=most).filter(
        lambda value: value == value.strip() and not value.endswith(".0")
    )


INVOICED_AT = st.datetimes(datetime(1969, 1, 1), datetime(2068, 12, 31)).map(  # noqa: DTZ001
    lambda value: value.replace(second=0, microsecond=0)
)
SALES_ROWS = st.builds(
    SalesRow,
    line=st.just(0),
    invoice=text(10),
    stock_code=text(10),
    description=st.none() | text(40, also="\n"),
    quantity=st.integers(-(10**6), 10**6),
    invoiced_at=INVOICED_AT,
    unit_price=st.decimals(-9999, 9999, places=3),
    customer_id=st.none() | text(10),
    country=text(10),
)
DATE_SPELLINGS: list[Callable[[datetime], str]] = [
    lambda at: f"{at:%Y-%m-%d %H:%M:%S}",
    lambda at: f"{at:%Y-%m-%dT%H:%M}",
    lambda at: f"{at.month}/{at.day}/{at.year} {at.hour}:{at:%M}",
    lambda at: f"{at.month}/{at.day}/{at:%y} {at.hour}:{at:%M}",
    lambda at: f"{at:%d-%m-%y} {at.hour}:{at:%M}",
    lambda at: f"{at:%d-%m-%Y %H:%M:%S}",
]


@given(
    rows=st.lists(SALES_ROWS, max_size=5),
    order=st.permutations(range(len(COLUMNS))),
    delimiter=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
    spell=st.sampled_from(DATE_SPELLINGS),
)
def test_what_a_csv_writer_writes_reads_back(
    rows: list[SalesRow],
    order: list[int],
    delimiter: str,
    line_end: str,
    quoting: int,
    encoding: str,
    spell: Callable[[datetime], str],
) -> None:
    content = io.StringIO(newline="")
    writer = csv.writer(content, delimiter=delimiter, lineterminator=line_end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow([COLUMNS[place] for place in order])
    for row in rows:
        values = astuple(replace(row, invoiced_at=spell(row.invoiced_at)))[1:]  # type: ignore[arg-type]
        cells = [value.replace("\n", line_end) if isinstance(value, str) else value for value in values]
        writer.writerow([cells[place] for place in order])
    data = content.getvalue().encode(encoding)
    assume(encoding != "cp1252" or not is_utf8(data) or data.isascii())
    assert [replace(row, line=0) for row in accepted(data)] == rows


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


PIECES = [f"{ROW}\n", f"{HEADER}\n", "\n", "\r", "\r\n", '"', '"OPEN\n', ",", ";", "é", "\0", "\x81", "1"]
ALMOST_CSV = st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join)
ALMOST_FILES = (
    st.binary()
    | ALMOST_CSV.map(lambda content: content.encode("utf-8", "surrogatepass"))
    | ALMOST_CSV.map(lambda content: f"{HEADER}\n{content}".encode("utf-8", "surrogatepass"))
    | st.binary().map(lambda content: f"{HEADER}\n{ROW}\n".encode() * 90 + content)
)


@given(ALMOST_FILES)
@example(b"")
def test_any_bytes_are_read_or_refused_and_as_many_rows_come_as_were_counted(data: bytes) -> None:
    try:
        rows = read(data)
    except UnreadableFile:
        return
    lines = [row.line for row in rows]
    assert lines == sorted(set(lines))
    for row in rows:
        if isinstance(row, RejectedRow):
            assert row.reason.isprintable()
            assert len(row.reason) < 120


@given(ALMOST_FILES, st.lists(st.integers(0, 40)))
def test_chunks_do_not_matter(data: bytes, sizes: list[int]) -> None:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    assert outcome(SalesFile(lambda: iter([*chunks, data[start:]]))) == outcome(sales_file(data))


def outcome(file: SalesFile) -> list[SalesRow | RejectedRow] | str:
    try:
        return list(file.rows())
    except UnreadableFile as error:
        return str(error)


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda row: row.replace(b",", b',"', 1),  # a quote is opened
    lambda row: row.replace(b"6", b'"6', 1),  # at the very start of the row
    lambda row: row + b',"',
    lambda row: row.replace(b",", b"", 1),
    lambda row: row.replace(b",", b",,", 1),
    lambda row: row.replace(b",2010", b",2O10"),
    lambda row: row.replace(b"United", b"\x81\xff"),
    lambda row: row.replace(b"United", b"\x07"),
    lambda row: row.replace(b"United", b"x" * 70_000),
    lambda _: b"\xff\xfe\x01",
    lambda _: b",,,,,,,",
    lambda _: b'"',
]


@given(
    descriptions=st.lists(st.none() | text(40, also="\n"), min_size=1, max_size=150),
    damaged=st.integers(0),
    damage=st.sampled_from(DAMAGES),
    quoted=st.booleans(),
)
def test_a_damaged_row_leaves_all_others_as_they_were(
    descriptions: list[str | None], damaged: int, damage: Callable[[bytes], bytes], quoted: bool
) -> None:
    # Letters around the text: what stands beside a quote of a later row must not look like the end of a cell.
    cells = [f"A{description}Z".replace('"', '""') if description else "" for description in descriptions]
    rows = [row_with(InvoiceNo=f"6{n}", Description=f'"{cell}"') for n, cell in enumerate(cells)]
    if quoted:
        rows = [f'"6{n}"{row.removeprefix(f"6{n}")}' for n, row in enumerate(rows)]
    # The umlaut in the first row sees to it that no damage turns the encoding of the others.
    lines = [row.encode("cp1252") for row in (HEADER, row_with(Country="Österreich"), *rows)]
    place = 2 + damaged % len(rows)
    whole = accepted(b"\n".join(lines))
    start = whole[place - 1].line
    end = start + lines[place].count(b"\n")
    damaged_row = damage(lines[place])
    lines[place] = damaged_row + b"\n" * (lines[place].count(b"\n") - damaged_row.count(b"\n"))
    left = [row for row in read(b"\n".join(lines)) if not start <= row.line <= end]
    assert left == [row for row in whole if row.line != start]


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9) + 1, max_value=10**9 - 1)
)
def test_a_price_is_read_exactly(price: Decimal) -> None:
    (row,) = accepted(f"{HEADER}\n{row_with(UnitPrice=f'{price:f}', Quantity='1')}")
    assert row.unit_price == price
