"""Hostile HTTP is refused with a reason by a real Gunicorn, and nothing else happens."""

import pytest

from tests.kit.hostile_requests import CASES, Hostile
from tests.kit.hostile_server import Server, assert_tells_nothing, get

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unharmed")]  # a corpus of hostile requests

LAST = get("/health/live?last")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_hostile_request_is_answered_once_and_reveals_nothing(server: Server, case: Hostile) -> None:
    first, *rest = server.exchange(case.request + LAST)
    assert first.status in case.statuses, first
    assert_tells_nothing(first)
    # What follows on the connection is one request, or none: nothing was smuggled in.
    assert [(answer.status, answer.body) for answer in rest] in ([], [(200, b'{"status":"ok"}')])


def test_a_head_request_has_no_body(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"HEAD /version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head = connection.makefile("rb").read()
    assert head.split(b" ")[1] in (b"200", b"405")
    assert head.endswith(b"\r\n\r\n")


def test_a_redirect_stays_on_this_host(server: Server) -> None:
    for path in ("/version/", "//version/", "/%2f%2fevil.example/version/", "/\\evil.example/"):
        answer = server.get(path)
        assert_tells_nothing(answer)
        assert answer.headers.get("location", "http://localhost/version") == "http://localhost/version"


@pytest.mark.slow
def test_memory_stays_flat_however_often_it_comes(server: Server) -> None:
    def all_of_it() -> int:
        for case in CASES.values():
            server.exchange(case.request + LAST)
        server.new_log()
        return server.memory()

    warm = all_of_it()
    assert max(all_of_it() for _ in range(4)) - warm < 30


@pytest.mark.parametrize("path", ["/version", "/nowhere", "/docs"])
def test_every_answer_has_security_headers(server: Server, path: str) -> None:
    headers = server.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
