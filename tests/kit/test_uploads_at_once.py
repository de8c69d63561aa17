"""Large and slow bodies at once: so many a process and an address; others get the reason before they send."""

import re
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from tests.conftest import wait_until
from tests.kit.hostile_server import Server
from tests.kit.impatient_app import MAX_BYTES

pytestmark = pytest.mark.usefixtures("unharmed")

SERVER = {
    "app": "tests.kit.impatient_app:app",
    "PATIENCE": "20",
    "MAX_UPLOADS": "3",
    "MAX_UPLOADS_PER_CLIENT": "2",
}
PROCESSES = 2
LARGE = f"Content-Length: {MAX_BYTES}"
ASKS_FIRST = "Expect: 100-continue"
CHUNKED = "Transfer-Encoding: chunked"
ONE, OTHER, THIRD = "192.0.2.1", "192.0.2.2", "192.0.2.3"

Begin = Callable[..., socket.socket]


@pytest.fixture
def begin(server: Server) -> Iterator[Begin]:
    """Send the head of a request."""
    with ExitStack() as stack:

        def send_head(client: str, *headers: str) -> socket.socket:
            connection = stack.enter_context(server.connect())
            of_all = "POST /length HTTP/1.1", "Host: localhost", "Connection: close"
            head = "\r\n".join([*of_all, f"X-Forwarded-For: {client}", *headers, "", ""])
            connection.sendall(head.encode())
            return connection

        yield send_head


def taken(begin: Begin, client: str, places: int) -> list[socket.socket]:
    """So many uploads that the server has told to send; it may refuse some first, as it has two processes."""
    accepted: list[socket.socket] = []

    def all_accepted() -> bool:
        connection = begin(client, LARGE, ASKS_FIRST)
        if b"100 Continue" in connection.recv(65536):
            accepted.append(connection)
        return len(accepted) == places

    wait_until(all_accepted, 10, "the places to be taken")
    return accepted


def answer(connection: socket.socket, rest: bytes = b"") -> str:
    """The response; after its end, the rest of the body is sent, and then the server closes."""
    received = b""
    while not (length := re.search(rb"content-length: (\d+)\r\n(?:.*\r\n)*?\r\n", received)) or (
        len(received) < length.end() + int(length[1])
    ):
        received += (data := connection.recv(65536))
        assert data, received
    connection.sendall(rest)
    assert connection.recv(65536) == b"", "closed, and not reset"
    return received.decode()


def test_more_uploads_than_an_address_may_have_are_refused_before_they_are_sent(begin: Begin) -> None:
    held = taken(begin, ONE, 2 * PROCESSES)
    for _ in range(4):
        for refused in (
            answer(begin(ONE, LARGE), b"x" * MAX_BYTES),
            answer(begin(ONE, LARGE, ASKS_FIRST)),
        ):
            assert refused.startswith("HTTP/1.1 429")
            assert "application/problem+json" in refused
            assert "retry-after: 5" in refused.lower()
            assert "MAX_UPLOADS_PER_CLIENT" in refused
    small = begin(ONE, "Content-Length: 60000")
    small.sendall(b"x" * 60000)
    assert answer(small).startswith("HTTP/1.1 200")
    held[0].sendall(b"x" * MAX_BYTES)
    assert answer(held[0]).endswith(str(MAX_BYTES))
    taken(begin, ONE, 1)


def test_one_address_leaves_places_to_others_until_the_process_has_no_more(begin: Begin) -> None:
    _held = taken(begin, ONE, 2 * PROCESSES), taken(begin, OTHER, PROCESSES)
    for client in (OTHER, THIRD):
        refused = answer(begin(client, LARGE), b"x" * MAX_BYTES)
        assert refused.startswith("HTTP/1.1 503")
        assert "(MAX_UPLOADS)" in refused


def test_a_body_that_turns_out_to_be_large_or_slow_counts_from_then_on(begin: Begin) -> None:
    _held = taken(begin, ONE, 2 * PROCESSES)
    large, slow = begin(ONE, CHUNKED), begin(ONE, "Content-Length: 70000")
    large.sendall(b"%x\r\n%s\r\n" % (300_000, b"x" * 300_000))
    assert answer(large, b"0\r\n\r\n").startswith("HTTP/1.1 429")
    sent = 0
    while not select.select([slow], [], [], 0.05)[0]:
        sent += slow.send(b"x")
    assert answer(slow, b"x" * (70000 - sent)).startswith("HTTP/1.1 429")


def test_clients_that_leave_make_room(begin: Begin) -> None:
    for _ in range(3):
        for connection in taken(begin, ONE, 2 * PROCESSES):
            with closing(connection):
                connection.sendall(b"x")
