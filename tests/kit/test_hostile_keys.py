"""Clients without a key are refused before anything else happens, whatever they send."""

import base64
import http.client
import json
from collections.abc import Iterator

import pytest

from tests.kit.hostile_requests import request
from tests.kit.hostile_server import Server, assert_tells_nothing, get, running_api

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unharmed")]  # a corpus of hostile requests

KEY = "0123456789abcdef" * 3


def basic(text: str) -> str:
    """The header of HTTP Basic for `user:password`."""
    return "Authorization: Basic " + base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()


@pytest.fixture(scope="module")
def server(redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("keys")
    database_url = f"sqlite:///{folder / 'app.db'}"
    with running_api(folder, redis_server, database_url, API_KEYS=KEY) as server:
        yield server


NO_KEYS = {
    "none": (),
    "empty": ("X-API-Key: ",),
    "wrong": ("X-API-Key: " + KEY[:-1] + "0",),
    "too-short": ("X-API-Key: " + KEY[:-1],),
    "too-long": ("X-API-Key: " + KEY + "0",),
    "two-in-one": (f"X-API-Key: x, {KEY}",),
    "not-ascii": ("X-API-Key: \xff\xfe",),
    "30000-characters": ("X-API-Key: " + "0" * 30_000,),
    "sql": ("X-API-Key: ' OR '1'='1",),
    "underscore": (f"X_API_Key: {KEY}",),
    "bearer": (f"Authorization: Bearer {KEY}",),
    "basic-alone": ("Authorization: Basic",),
    "basic-not-base64": ("Authorization: Basic %%%\xff",),
    "basic-cut": ("Authorization: Basic QQ",),
    "basic-no-colon": (basic(KEY),),
    "basic-key-as-user": (basic(f"{KEY}:"),),
    "basic-surrogate": (basic(f"\ud800:{KEY[:-1]}"),),
    "basic-nul": (basic(f"a:{KEY}\0"),),
    "basic-30000-characters": (basic("a:" + "b" * 20_000),),
    "basic-space-behind": (basic(f":{KEY} "),),
    "basic-colon-behind": (basic(f":{KEY}:"),),
    "digest": ('Authorization: Digest username="a"',),
    "cookie": (f"Cookie: X-API-Key={KEY}",),
    "forwarded": ("X-Forwarded-For: 127.0.0.1", "X-Original-URL: /health/live"),
}


@pytest.mark.parametrize("headers", NO_KEYS.values(), ids=NO_KEYS.keys())
def test_without_a_key_it_is_401(server: Server, headers: tuple[str, ...]) -> None:
    (answer,) = server.exchange(get("/version", *headers))
    assert (answer.status, answer.is_problem) == (401, True)
    assert "basic" in answer.headers["www-authenticate"].lower()
    assert KEY not in json.dumps(answer.headers) + answer.body.decode()
    assert_tells_nothing(answer)


@pytest.mark.parametrize(
    "path",
    [f"/version?x-api-key={KEY}", "/health/live/../../version", "/health/live%2f..%2fversion", "//version"],
)
def test_no_path_leads_around_the_key(server: Server, path: str) -> None:
    (answer,) = server.exchange(get(path))
    assert answer.status == 401


def test_with_the_key_it_is_200(server: Server) -> None:
    for header in (f"X-API-Key: {KEY}", basic(f"anybody:{KEY}")):
        assert server.exchange(get("/version", header))[0].status == 200


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
    server.exchange(get(f"/version?key={KEY[:8]}", f"X-API-Key: {KEY}"))
    server.exchange(get("/nowhere", basic(f"a:{KEY}")))
    assert KEY not in server.new_log()
