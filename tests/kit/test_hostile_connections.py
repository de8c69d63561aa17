"""Slow, silent and endless clients: every wait has an end, and other clients are not affected."""

import http.client
import itertools
import json
import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from time import monotonic

import pytest

from tests.conftest import wait_until
from tests.kit.hostile_server import Answer, Server, answers, assert_tells_nothing
from tests.kit.impatient_app import MAX_BYTES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("unharmed"),
]  # a corpus of hostile connections, which wait for time limits

SERVER = {"app": "tests.kit.impatient_app:app"}
BEGIN = b"POST /length HTTP/1.1\r\nHost: localhost\r\n"


def drip(server: Server, begin: bytes, drop: bytes) -> list[Answer]:
    """Send `begin`, then `drop` again and again; return what the server answers before it closes."""
    with server.connect() as connection:
        connection.sendall(begin)
        end = monotonic() + 15
        while not select.select([connection], [], [], 0.1)[0]:
            assert monotonic() < end, "the server waits forever"
            connection.sendall(drop)
        return list(answers(connection))


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        (b"", b"\r\n"),
        (b"GET /", b"a"),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
        (b"GET /version HTTP/1.1\r\nX: ", b"y"),
        (b"GET /version HTTP/1.1\r\nHost: localhost\r\n", b""),
    ],
    ids=["blank-lines", "path", "headers", "one-header", "stops"],
)
def test_a_head_that_comes_slowly_ends_the_connection(server: Server, begin: bytes, drop: bytes) -> None:
    got = drip(server, begin, drop)
    assert [answer.status for answer in got] == ([408] if begin else [])


def test_a_connection_that_says_nothing_is_closed(server: Server) -> None:
    with server.connect() as connection:
        assert connection.recv(1) == b""


def test_the_second_request_of_a_connection_has_the_same_limit(server: Server) -> None:
    first, second = drip(server, b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET /", b"a")
    assert (first.status, second.status) == (200, 408)


def test_a_connection_may_be_idle_between_requests(server: Server) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(2):
        client.request("GET", "/health/live")
        assert client.getresponse().read() == b'{"status":"ok"}'
        used = client.sock
        with server.connect() as silent:
            assert silent.recv(1) == b"", "longer than a head may take"
        assert client.sock is used
    client.close()


@pytest.mark.parametrize(
    ("header", "drop"),
    [
        (b"Content-Length: 100000", b"x"),
        (b"Content-Length: 100000", b""),
        (b"Content-Length: 100000\r\nExpect: 100-continue", b""),
        (b"Transfer-Encoding: chunked", b"1\r\nx\r\n"),
        (b"Transfer-Encoding: chunked", b""),
    ],
    ids=["drips", "stops", "asks-first", "drips-chunks", "no-chunk"],
)
def test_a_body_that_comes_slowly_is_a_problem(server: Server, header: bytes, drop: bytes) -> None:
    got = drip(server, BEGIN + header + b"\r\n\r\n", drop)
    assert [answer.status for answer in got if answer.status != 100] == [408]
    assert got[-1].is_problem
    assert "too slowly" in json.loads(got[-1].body)["detail"]
    assert_tells_nothing(got[-1])


def test_a_body_that_drips_beyond_the_limit_is_a_problem_at_once_and_then_is_given_up(server: Server) -> None:
    (answer,) = drip(server, BEGIN + b"Content-Length: 99999999999\r\n\r\n", b"x")
    assert (answer.status, answer.is_problem) == (413, True)


@pytest.mark.parametrize("path", ["/version", "/nowhere", "/health/live"])
def test_an_unread_body_does_not_keep_the_connection_open(server: Server, path: str) -> None:
    begin = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".encode()
    with server.connect() as connection:
        connection.sendall(begin)
        end = monotonic() + 15
        with suppress(ConnectionResetError, BrokenPipeError):
            while monotonic() < end:
                connection.sendall(b"x")
                if select.select([connection], [], [], 0.05)[0] and not connection.recv(65536):
                    return
        assert monotonic() < end, "the server reads forever"


def test_a_body_that_keeps_coming_may_take_longer(server: Server) -> None:
    def slowly() -> Iterator[bytes]:
        yield BEGIN + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (30 * 4096)
        for _ in range(30):
            select.select([], [], [], 0.1)
            yield b"x" * 4096

    (answer,) = server.exchange(slowly())
    assert (answer.status, answer.body) == (200, b"122880")


def test_a_client_that_disconnects_early_logs_no_error(server: Server) -> None:
    for begin in (
        b"GET /ver",
        BEGIN + b"Content-Length: 100000\r\n\r\nabc",
        BEGIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\na",
    ):
        for reset in (False, True):
            with server.connect() as connection:
                connection.sendall(begin)
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("header", [f"Content-Length: {MAX_BYTES + 1}", "Transfer-Encoding: chunked"])
def test_a_body_over_the_limit_is_a_problem_that_the_client_can_read(server: Server, header: str) -> None:
    def body() -> Iterator[bytes]:
        yield BEGIN + f"Connection: close\r\n{header}\r\n\r\n".encode()
        chunk = b"%x\r\n%s\r\n" % (65536, b"x" * 65536) if "chunked" in header else b"x" * 65536
        yield from itertools.repeat(chunk, 16)
        yield chunk if "chunked" in header else b"x"
        yield b"0\r\n\r\n" if "chunked" in header else b""

    (answer,) = server.exchange(body())
    assert (answer.status, answer.is_problem) == (413, True)


def test_an_endless_body_ends(server: Server) -> None:
    endless = itertools.chain(
        [BEGIN + b"Transfer-Encoding: chunked\r\n\r\n"],
        itertools.repeat(b"%x\r\n%s\r\n" % (65536, b"x" * 65536)),
    )
    before = server.memory()
    for answer in server.exchange(endless):
        assert answer.status == 413
    assert server.memory() - before < 20


def test_many_requests_at_once_on_one_connection_are_answered_in_order(server: Server) -> None:
    requests = b"".join(b"GET /nowhere/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % i for i in range(500))
    last = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    statuses = [answer.status for answer in server.exchange(requests + last)]
    assert statuses == [404] * 500 + [200]


def test_others_are_served_while_hundreds_are_slow(server: Server) -> None:
    before = server.memory()
    with ExitStack() as stack:
        slow = [stack.enter_context(server.connect()) for _ in range(300)]
        for connection in slow[::2]:
            connection.sendall(b"GET /version HTTP/1.1\r\nX: ")
        with ThreadPoolExecutor(8) as clients:
            assert {a.status for a in clients.map(server.get, ["/health/live"] * 200)} == {200}
        assert server.memory() - before < 40

        def all_closed() -> bool:
            return len(select.select(slow, [], [], 0)[0]) == len(slow)

        wait_until(all_closed, 10, "the slow connections to be closed")


def test_the_oldest_idle_connections_make_room_for_new_ones(server: Server) -> None:
    def open_files() -> int:
        return sum(process.num_fds() for process in server.processes()[1:])

    before = open_files()
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(server.connect())
        assert server.get("/health/live").status == 200
        assert open_files() - before <= 2 * 50 + 2
