"""Headers the importer understands, and what it says about files that it cannot read."""

import gzip
import io
import zipfile
from collections.abc import Iterator

import pytest

from src.sales.importer import RejectedRow, SalesFile, SalesRow, UnreadableFile
from tests.sales.sales_csv import HEADER, ROW, accepted, read, sales_file


def complaint(content: str | bytes) -> str:
    """Why the file cannot be read; counting and reading say the same."""
    file = sales_file(content)
    with pytest.raises(UnreadableFile) as counting:
        file.count_rows()
    with pytest.raises(UnreadableFile) as reading:
        next(file.rows())
    sentence = str(counting.value)
    assert str(reading.value) == sentence
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert sentence.isprintable()
    assert len(sentence) < 250
    return sentence


def zipped() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as workbook:
        workbook.writestr("[Content_Types].xml", "<Types/>")
    return archive.getvalue()


def test_columns_may_have_any_order_and_spelling() -> None:
    content = (
        "\ufeff country ;Customer ID;PRICE;Comment;invoicedate;QUANTITY;Stock_Code;Invoice\n"
        "France;12583.0;3,75;gift;12/1/10 8:45;24;22728;536370\n"
    )
    (row,) = accepted(content)
    assert (row.invoice, row.stock_code, row.description, row.quantity) == ("536370", "22728", None, 24)
    assert (row.customer_id, row.country, str(row.unit_price)) == ("12583", "France", "3.75")


def test_a_header_may_be_quoted_and_have_line_breaks() -> None:
    content = '"Invoice\nNo","Stock\nCode",Quantity,InvoiceDate,Price,Country\nC1,A,-1,2010-12-01,2,EIRE\n'
    (row,) = accepted(content)
    assert (row.line, row.invoice, row.customer_id) == (4, "C1", None)


def test_a_rejected_row_names_the_column_as_the_file_spells_it() -> None:
    header = "invoice,STOCK CODE,quantity,Invoice_Date,Price,Country"
    rows = read(f"{header}\n1,A,x,2010-12-01,1,EIRE\n1,A,1,x,1,EIRE\n")
    assert [getattr(row, "column", None) for row in rows] == ["quantity", "Invoice_Date"]


def test_a_column_that_is_ignored_may_be_named_twice_and_hold_anything() -> None:
    assert len(accepted(f"{HEADER},Note,Note\n{ROW},\x07,\ufffe\n")) == 1
    assert len(accepted(f"{HEADER},#\xe9\n{ROW},\n".encode("cp1252").replace(b"#", b"\x81"))) == 1


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (HEADER.replace(",Country", ""), "The file has no column Country; "),
        (HEADER.replace("UnitPrice", "Prize"), "The file has no column UnitPrice; "),
        (
            HEADER.replace("Date", "D").replace("Qu", "qU-"),
            "The file has no columns Quantity and InvoiceDate; ",
        ),
        ("Country", "The file has no columns InvoiceNo, StockCode, Quantity, InvoiceDate and UnitPrice; "),
        (f"{HEADER},invoice", "The header names the column InvoiceNo or Invoice more than once; "),
        (f"{HEADER},COUNTRY", "The header names the column Country more than once; "),
        (ROW, "The file has no header; its first line must name the columns InvoiceNo, StockCode, "),
        (HEADER.replace(",", "|"), "The file has no header; "),
        (f'"{HEADER}', "The header cannot be read: a quote is opened and never closed; mend line 1."),
        ("\n" + "x" * 70_000, "The header cannot be read: the line is longer than 64 KiB; mend line 2."),
        ("\x07\u202e" * 1000, "The file has no header; "),
    ],
)
def test_a_header_that_will_not_do(header: str, says: str) -> None:
    assert complaint(f"{header}\n{ROW}\n").startswith(says)


@pytest.mark.parametrize("content", ["", "\ufeff", "\n", " \r\n\r\n\t\n", "sep=;\n"])
def test_a_file_without_a_table(content: str) -> None:
    assert complaint(content).startswith("The file is empty or has only blank lines; it needs a header with ")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (zipped(), "This is an Excel workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "This is an Excel workbook in the old format"),
        (f"{HEADER}\n".encode("utf-16"), "This is UTF-16 text"),
        (f"{HEADER}\n".encode("utf-16-be"), "This is UTF-16 text"),
        (f"{HEADER}\n".encode("utf-16-le"), "This is UTF-16 text"),
        (b"%PDF-1.7\n", "This is a PDF document"),
        (gzip.compress(HEADER.encode()), "This is a gzip archive"),
        (b"\x89PNG\r\n\x1a\n", "This is a PNG image"),
        (f"{HEADER}\n".encode() + bytes(3), "This is a binary file"),
    ],
)
def test_a_file_that_is_no_text(content: bytes, says: str) -> None:
    assert complaint(content).startswith(says)


def test_only_the_first_8_kib_tell_whether_a_file_is_text() -> None:
    comment = "x" * (8192 - len(f"{HEADER},Note\n{ROW},"))
    text = f"{HEADER},Note\n{ROW},{comment}".encode()
    assert complaint(text[:-1] + b"\0\n").startswith("This is a binary file")
    (row,) = read(text + b"\0\n")
    assert row == RejectedRow(2, "Note", "holds a NUL byte")


def test_an_endless_header_is_given_up_early() -> None:
    taken = 0

    def open_chunks() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1_000):
            taken += 1
            yield b"a," * 32768

    with pytest.raises(UnreadableFile, match="longer than 64 KiB"):
        SalesFile(open_chunks).count_rows()
    assert taken < 4


def test_what_the_source_raises_gets_through() -> None:
    def open_chunks() -> Iterator[bytes]:
        yield f"{HEADER}\n{ROW}\n".encode() * 1000
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        SalesFile(open_chunks).count_rows()


def test_rows_are_read_lazily() -> None:
    opened = 0

    def open_chunks() -> Iterator[bytes]:
        nonlocal opened
        opened += 1
        return iter([f"{HEADER}\n{ROW}\n".encode()])

    file = SalesFile(open_chunks)
    assert file.count_rows() == 1
    rows = file.rows()
    assert opened == 1
    assert isinstance(next(rows), SalesRow)
    assert opened == 2
