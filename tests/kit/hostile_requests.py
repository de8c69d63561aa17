"""Hostile requests to routes that every application of this template has: bytes, and what may be answered."""

from typing import Any, NamedTuple

from tests.kit.hostile_server import get
from tests.kit.tables import read_table


class Hostile(NamedTuple):
    """One request, or bytes that pretend to be one."""

    request: bytes
    statuses: list[int]


def request(line: str, *headers: str, body: bytes = b"", host: str | None = "localhost") -> bytes:
    """A request with these header lines, as they are."""
    lines = [line, *([f"Host: {host}"] if host is not None else []), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _hostile(case: dict[str, Any]) -> Hostile:
    if raw := case.get("raw"):
        return Hostile(raw.encode("latin-1"), case["status"])
    line = "POST /version HTTP/1.1" if "post" in case else f"GET {case.get('get', '/version')} HTTP/1.1"
    headers = case.get("post") or case.get("headers", [])
    body = case.get("body", "").encode().replace(b"SMUGGLED", get("/health/ready"))
    host = case.get("host", "localhost")
    sent = request(case.get("line", line), *headers, body=body, host=None if host is False else host)
    return Hostile(sent, case["status"])


CASES = {
    f"{group}-{name}": _hostile(case)
    for group, cases in read_table("hostile_requests.toml").items()
    for name, case in cases.items()
} | {"line-every-byte": Hostile(bytes(range(256)), [400])}
