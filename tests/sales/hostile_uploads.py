"""Hostile uploads and parameters of the sales API: bytes, and what may be answered."""

import json
from typing import NamedTuple

from tests.kit.hostile_requests import request
from tests.kit.hostile_server import get
from tests.sales.hostile_files import TABLE

IMPORTS = "/api/v1/sales/imports"
FORM = "multipart/form-data; boundary=XX"
FILE = 'Content-Disposition: form-data; name="file"; filename="a.csv"'


def upload(body: bytes, content_type: str | None = FORM, *headers: str, length: int | None = None) -> bytes:
    """A POST of this body to the imports; the server closes after its answer."""
    kind = [f"Content-Type: {content_type}"] if content_type is not None else []
    size = f"Content-Length: {len(body) if length is None else length}"
    return request(f"POST {IMPORTS} HTTP/1.1", "Connection: close", *kind, size, *headers, body=body)


def part(content: bytes, *headers: str) -> bytes:
    """One part of a form."""
    return b"--XX\r\n" + "\r\n".join([*headers, "", ""]).encode() + content + b"\r\n"


def form(content: bytes, disposition: str = FILE) -> bytes:
    """A form with one part."""
    return part(content, disposition) + b"--XX--\r\n"


class Refused(NamedTuple):
    """A request that stores nothing."""

    request: bytes
    statuses: tuple[int, ...]
    detail: str
    """Part of the problem's detail."""


_DATA = TABLE.encode()
_GOOD = part(_DATA, FILE)
_END = b"--XX--\r\n"
_FORM_BAD = (400, 422)
_DEEP = b"[" * 100_000 + b"]" * 100_000

UPLOADS = {
    "no-content-type": Refused(upload(form(_DATA), None), _FORM_BAD, "file"),
    "empty-content-type": Refused(upload(form(_DATA), ""), _FORM_BAD, "file"),
    "no-boundary": Refused(upload(form(_DATA), "multipart/form-data"), _FORM_BAD, "boundary"),
    "empty-boundary": Refused(upload(form(_DATA), "multipart/form-data; boundary="), _FORM_BAD, ""),
    "wrong-boundary": Refused(upload(form(_DATA), "multipart/form-data; boundary=YY"), _FORM_BAD, ""),
    "boundary-of-8000": Refused(
        upload(form(_DATA), "multipart/form-data; boundary=" + "X" * 8000), _FORM_BAD, ""
    ),
    "boundary-not-ascii": Refused(upload(form(_DATA), "multipart/form-data; boundary=\xff"), _FORM_BAD, ""),
    "boundary-of-nothing-but-quotes": Refused(
        upload(form(_DATA), 'multipart/form-data; boundary="""'), _FORM_BAD, ""
    ),
    "multipart-mixed": Refused(upload(form(_DATA), "multipart/mixed; boundary=XX"), _FORM_BAD, "file"),
    "octet-stream": Refused(upload(_DATA, "application/octet-stream"), _FORM_BAD, "file"),
    "csv-itself": Refused(upload(_DATA, "text/csv"), _FORM_BAD, "file"),
    "json": Refused(upload(json.dumps({"file": "x"}).encode(), "application/json"), _FORM_BAD, "file"),
    "json-deep": Refused(upload(_DEEP, "application/json"), _FORM_BAD, ""),
    "json-huge-number": Refused(upload(b"1" * 1_000_000, "application/json"), _FORM_BAD, ""),
    "json-not-utf-8": Refused(upload(b'"\xff\xfe\xed\xa0\x80"', "application/json"), _FORM_BAD, ""),
    "urlencoded": Refused(upload(b"file=x", "application/x-www-form-urlencoded"), _FORM_BAD, "file"),
    "urlencoded-a-million-fields": Refused(
        upload(b"a&" * 1_000_000, "application/x-www-form-urlencoded"), _FORM_BAD, "fields"
    ),
    "urlencoded-large-field": Refused(
        upload(b"file=" + b"%00" * 1_000_000, "application/x-www-form-urlencoded"), _FORM_BAD, "size"
    ),
    "no-body": Refused(upload(b""), _FORM_BAD, ""),
    "only-the-end": Refused(upload(_END), _FORM_BAD, "file"),
    "cut-in-the-boundary": Refused(upload(_GOOD + b"--X"), _FORM_BAD, ""),
    "cut-in-the-data": Refused(upload(_GOOD[:-20]), _FORM_BAD, ""),
    "cut-in-the-headers": Refused(upload(_GOOD[:30]), _FORM_BAD, ""),
    "no-blank-line-after-headers": Refused(
        upload(b"--XX\r\n" + FILE.encode() + b"\r\n" + _DATA + _END), _FORM_BAD, ""
    ),
    "bare-line-feeds": Refused(upload(form(_DATA).replace(b"\r\n", b"\n")), _FORM_BAD, ""),
    "no-disposition": Refused(upload(form(_DATA, "X: y")), _FORM_BAD, "name"),
    "disposition-without-name": Refused(
        upload(form(_DATA, "Content-Disposition: form-data")), _FORM_BAD, "name"
    ),
    "disposition-nonsense": Refused(upload(form(_DATA, 'Content-Disposition: ;;;=;="')), _FORM_BAD, "name"),
    "field-instead-of-file": Refused(
        upload(form(b"x", 'Content-Disposition: form-data; name="file"')), _FORM_BAD, "file"
    ),
    "large-field-instead-of-file": Refused(
        upload(form(b"x" * 100_000, 'Content-Disposition: form-data; name="file"')), _FORM_BAD, "size"
    ),
    "other-name": Refused(upload(form(_DATA, FILE.replace('"file"', '"data"'))), _FORM_BAD, "file"),
    "two-files": Refused(upload(_GOOD + _GOOD + _END), _FORM_BAD, "files"),
    "file-and-another": Refused(
        upload(_GOOD + part(b"x", FILE.replace('"file"', '"more"')) + _END), _FORM_BAD, "files"
    ),
    "file-and-field": Refused(
        upload(_GOOD + part(b"x", 'Content-Disposition: form-data; name="more"') + _END), _FORM_BAD, "more"
    ),
    "10000-files": Refused(upload(_GOOD * 10_000 + _END), _FORM_BAD, "files"),
    "10000-fields": Refused(
        upload(part(b"x", 'Content-Disposition: form-data; name="a"') * 10_000 + _GOOD + _END),
        _FORM_BAD,
        "fields",
    ),
    "nested": Refused(upload(form(form(_DATA), "Content-Type: multipart/mixed; boundary=XX")), _FORM_BAD, ""),
    "part-header-of-100k": Refused(upload(form(_DATA, FILE + "; x=" + "y" * 100_000)), _FORM_BAD, ""),
    "10000-part-headers": Refused(upload(part(_DATA, FILE, *["X: y"] * 10_000) + _END), _FORM_BAD, ""),
    "part-header-with-nul": Refused(upload(form(_DATA, "X\0: y\r\n" + FILE)), _FORM_BAD, ""),
    "part-header-without-colon": Refused(upload(form(_DATA, "nonsense\r\n" + FILE)), _FORM_BAD, ""),
    "charset-undefined": Refused(upload(form(_DATA), FORM + "; charset=undefined"), _FORM_BAD, "body"),
    "charset-punycode": Refused(
        upload(form(_DATA, FILE.replace("a.csv", "a-\xff")), FORM + "; charset=punycode"), _FORM_BAD, ""
    ),
    "charset-utf-16": Refused(upload(form(_DATA), FORM + "; charset=utf-16"), _FORM_BAD, "file"),
    "length-beyond-the-limit": Refused(
        upload(b"", FORM, "Expect: 100-continue", length=1 << 40), (413,), "MAX_UPLOAD_MB"
    ),
    "length-of-5000-digits": Refused(
        upload(b"", FORM, "Content-Length: " + "9" * 5000, length=0), (400,), ""
    ),
    "length-smaller-than-the-form": Refused(upload(form(_DATA), length=60), _FORM_BAD, ""),
    "chunked-and-cut": Refused(
        request(
            f"POST {IMPORTS} HTTP/1.1",
            "Connection: close",
            f"Content-Type: {FORM}",
            "Transfer-Encoding: chunked",
            body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(_GOOD), _GOOD),
        ),
        _FORM_BAD,
        "",
    ),
    "gzip-encoding-is-not-unpacked": Refused(
        upload(bytes(1000), FORM, "Content-Encoding: gzip"), _FORM_BAD, ""
    ),
    "put": Refused(upload(form(_DATA)).replace(b"POST", b"PUT", 1), (405,), ""),
    "delete-all": Refused(upload(b"").replace(b"POST", b"DELETE", 1), (405,), ""),
}

NAMES = {
    "../../../etc/passwd": "passwd",
    "/etc/passwd": "passwd",
    "..\\\\..\\\\windows\\\\win.ini": "win.ini",
    "C:\\\\sales.csv": "sales.csv",
    "\\\\\\\\evil.example\\\\share\\\\x.csv": "x.csv",
    "..": "unnamed",
    ".": "unnamed",
    "/": "unnamed",
    " ": "unnamed",
    "a\0b.csv": "ab.csv",
    "\0": "unnamed",
    "a%00b%0d%0a.csv": "a%00b%0d%0a.csv",
    "sales\u202evsc.exe": "salesvsc.exe",
    "\u2066x\u2069.csv": "x.csv",
    "a\x1b[2Jb.csv": "a[2Jb.csv",
    "CON.csv": "CON.csv",
    "=cmd|' /C calc'!A0.csv": "C calc'!A0.csv",
    "=1+1.csv": "=1+1.csv",
    "'; DROP TABLE sales_imports; --.csv": "'; DROP TABLE sales_imports; --.csv",
    "<img src=x onerror=alert(1)>.csv": "<img src=x onerror=alert(1)>.csv",
    "{{7*7}}${x}%s.csv": "{{7*7}}${x}%s.csv",
    "n" * 3000: "n" * 255,
    "é" * 1000: "é" * 255,
    "👩\u200d👧.csv": "👩👧.csv",
    "\ud800.csv": None,
}
"""File names as a client sends them, and what is kept of them; None: whatever it is, no surrogate."""

_SQL = "'%20OR%201=1;DROP%20TABLE%20sales_imports;--"
_SUMMARY = "/api/v1/sales/summary"
_BEYOND = "1" + "0" * 30
_ID = "00000000-0000-0000-0000-000000000000"

PARAMETERS = {
    "sql-as-id": (f"{IMPORTS}/{_SQL}", 422),
    "sql-after-id": (f"{IMPORTS}/{_ID}{_SQL}", 422),
    "sql-as-id-of-events": (f"{IMPORTS}/{_SQL}/events", 422),
    "sql-as-limit": (f"{IMPORTS}?limit={_SQL}", 422),
    "sql-as-group": (f"{_SUMMARY}?group_by={_SQL}", 422),
    "sql-as-from": (f"{_SUMMARY}?group_by=day&from={_SQL}", 422),
    "sql-as-to": (f"{_SUMMARY}?group_by=day&to={_SQL}", 422),
    "sql-as-summary-limit": (f"{_SUMMARY}?group_by=day&limit={_SQL}", 422),
    "id-unknown": (f"{IMPORTS}/{_ID}", 404),
    "id-unknown-events": (f"{IMPORTS}/{_ID}/events", 404),
    "id-nul": (f"{IMPORTS}/%00", 422),
    "id-with-nul": (f"{IMPORTS}/{_ID}%00", 422),
    "id-not-utf-8": (f"{IMPORTS}/%ff%fe", 422),
    "id-surrogate": (f"{IMPORTS}/%ed%a0%80", 422),
    "id-of-10k": (f"{IMPORTS}/{'0' * 10_000}", 422),
    "id-number": (f"{IMPORTS}/1", 422),
    "id-dot-dot": (f"{IMPORTS}/..%2f..%2fetc%2fpasswd", 404),
    "limit-negative": (f"{IMPORTS}?limit=-1", 422),
    "limit-zero": (f"{IMPORTS}?limit=0", 422),
    "limit-beyond-64-bits": (f"{IMPORTS}?limit={_BEYOND}", 422),
    "limit-of-9000-digits": (f"{IMPORTS}?limit={'9' * 9000}", 422),
    "limit-nan": (f"{IMPORTS}?limit=NaN", 422),
    "limit-infinity": (f"{IMPORTS}?limit=Infinity", 422),
    "limit-float": (f"{IMPORTS}?limit=1e400", 422),
    "limit-empty": (f"{IMPORTS}?limit=", 422),
    "limit-nul": (f"{IMPORTS}?limit=1%00", 422),
    "summary-limit-negative": (f"{_SUMMARY}?group_by=day&limit=-1", 422),
    "summary-limit-beyond": (f"{_SUMMARY}?group_by=day&limit={_BEYOND}", 422),
    "summary-limit-above": (f"{_SUMMARY}?group_by=day&limit=10001", 422),
    "offset-negative": (f"{_SUMMARY}?group_by=product&offset=-1", 422),
    "offset-far": (f"{_SUMMARY}?group_by=product&offset=2147483648", 200),
    "offset-beyond": (f"{_SUMMARY}?group_by=product&offset={_BEYOND}", 422),
    "group-missing": (_SUMMARY, 422),
    "group-unknown": (f"{_SUMMARY}?group_by=password", 422),
    "group-list": (f"{_SUMMARY}?group_by[]=day", 422),
    "group-attribute": (f"{_SUMMARY}?group_by=__class__", 422),
    "from-31-february": (f"{_SUMMARY}?group_by=day&from=2010-02-31", 422),
    "from-year-0": (f"{_SUMMARY}?group_by=day&from=0000-01-01", 422),
    "from-year-10000": (f"{_SUMMARY}?group_by=day&from=10000-01-01", 422),
    "from-infinity": (f"{_SUMMARY}?group_by=day&from=infinity", 422),
    "from-nan": (f"{_SUMMARY}?group_by=day&from=NaN", 422),
    "from-beyond": (f"{_SUMMARY}?group_by=day&from={_BEYOND}", 422),
    "from-float": (f"{_SUMMARY}?group_by=day&from=1e400", 422),
    "from-of-9000-digits": (f"{_SUMMARY}?group_by=day&from={'9' * 9000}", 422),
    "from-after-to": (f"{_SUMMARY}?group_by=day&from=9999-12-31&to=0001-01-01", 422),
    "the-first-and-the-last-day": (f"{_SUMMARY}?group_by=day&from=0001-01-01&to=9999-12-31", 200),
    "10000-parameters": (f"{_SUMMARY}?group_by=day&" + "a=b&" * 10_000, 200),
    "parameter-many-times": (f"{IMPORTS}?" + "limit=1&" * 5_000 + "limit=-1", 422),
}
"""Paths with their parameters, and the status."""

EVENTS = {
    "last-event-id-nonsense": "Last-Event-ID: \xff" + "9" * 5000,
    "last-event-id-sql": "Last-Event-ID: '; DROP TABLE sales_imports; --",
    "range": "Range: bytes=0-0,-1",
    "accept-nothing": "Accept: image/png;q=0",
    "body-beyond-the-limit": "Content-Length: 99999999999",
    "body-that-stops": "Content-Length: 100",
}
"""Headers of a request for events."""


def events(import_id: str, header: str) -> bytes:
    """A request for the events of an import."""
    return get(f"{IMPORTS}/{import_id}/events", header)
