"""Clients without a key are refused before anything else happens, whatever they send."""

import base64
import http.client
import json
import re

import pytest

from tests.kit.hostile_requests import request
from tests.kit.hostile_server import Server, assert_tells_nothing
from tests.kit.tables import read_table

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unharmed")]  # a corpus of hostile requests

KEY = "0123456789abcdef" * 3
SERVER = {"API_KEYS": KEY}


def header(text: str) -> str:
    """A header line, with the key in the place of KEY, and Base64 where `hostile_keys.toml` wants it."""
    text = text.replace("KEY", KEY).replace("CUT", KEY[:-1])
    return re.sub(r"\[\[(.*?)]]", lambda found: base64.b64encode(found[1].encode("latin-1")).decode(), text)


NO_KEYS = {name: tuple(map(header, lines)) for name, lines in read_table("hostile_keys.toml").items()}


@pytest.mark.parametrize("headers", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_without_a_key_it_is_401(server: Server, headers: tuple[str, ...]) -> None:
    answer = server.get("/version", *headers)
    assert (answer.status, answer.is_problem) == (401, True)
    assert "basic" in answer.headers["www-authenticate"].lower()
    assert KEY not in json.dumps(answer.headers) + answer.body.decode()
    assert_tells_nothing(answer)


@pytest.mark.parametrize(
    "path",
    [f"/version?x-api-key={KEY}", "/health/live/../../version", "/health/live%2f..%2fversion", "//version"],
)
def test_no_path_leads_around_the_key(server: Server, path: str) -> None:
    assert server.get(path).status == 401


def test_with_the_key_it_is_200(server: Server) -> None:
    for line in ("X-API-Key: KEY", "Authorization: Basic [[anybody:KEY]]"):
        assert server.get("/version", header(line)).status == 200


def test_a_trailer_cannot_carry_the_key(server: Server) -> None:
    head = request("POST /version HTTP/1.1", "Transfer-Encoding: chunked", "Connection: close")
    (answer,) = server.exchange(head + f"0\r\nX-API-Key: {KEY}\r\n\r\n".encode())
    assert answer.status == 401


@pytest.mark.parametrize("path", ["/version", "/api/v1/nowhere", "/"])
@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",)], ids=["sends", "asks first"])
def test_without_a_key_the_body_is_not_read(server: Server, path: str, more: tuple[str, ...]) -> None:
    before = server.memory()
    with server.connect() as connection:
        connection.sendall(request(f"POST {path} HTTP/1.1", "Content-Length: 99999999999", *more))
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert server.memory() - before < 10


def test_a_client_that_sends_a_lot_reads_the_401(server: Server) -> None:
    connection = http.client.HTTPConnection("localhost", server.port, timeout=10)
    connection.request("POST", "/nowhere", body=bytes(20_000_000))
    assert connection.getresponse().status == 401
    connection.close()


def test_no_key_is_logged(server: Server) -> None:
    server.get(f"/version?key={KEY[:8]}", header("X-API-Key: KEY"))
    server.get("/nowhere", header("Authorization: Basic [[a:KEY]]"))
    assert KEY not in server.new_log()
