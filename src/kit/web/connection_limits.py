"""The connections of the API in production: Uvicorn's, with limits on what precedes the application.

Uvicorn limits neither the size of a request's head nor the time that it may take, and keeps a silent
connection open forever (https://github.com/Kludex/uvicorn/issues/157). A reverse proxy would limit them; this
works without one. The limits on bodies are in `body_limit`, which answers with a problem.
"""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20
"""For the head of a request, and for the rest of a body that the application did not read."""

MAX_HEAD_BYTES = 64 * 1024
"""Of a head that takes more than one read."""

MAX_IDLE = 1000
"""Connections per process that wait for the head of a request; one more closes the oldest."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _idle: ClassVar[dict["LimitedProtocol", None]] = {}
    _is_ending: ClassVar[bool] = False
    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected, and must send a head soon."""
        super().connection_made(transport)
        self._expect_head()
        self._idle[self] = None
        if len(self._idle) > MAX_IDLE:
            next(iter(self._idle)).transport.abort()

    @classmethod
    def end_connections(cls, connections: Iterable[Any]) -> None:
        """Close these and all later ones after the next response, which says so."""
        cls._is_ending = True
        for connection in connections:
            if isinstance(connection, cls) and connection.cycle:
                connection.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and check the size of the head so far."""
        if self.cycle is not None and self.cycle.response_complete:
            self._expect_head()
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. After the body it is a trailer, which Uvicorn would treat as a header."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.get_http_version() == "1.1" and [name for name, _ in self.headers].count(b"host") != 1:
            raise ValueError("RFC 9112, 3.2: exactly one Host")  # answered with 400
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()
        upgrades = self.parser.should_upgrade()  # if nobody handles it, the parser reads nothing after it
        if (upgrades or self._is_ending) and not (upgrades and self._should_upgrade()):
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """The application has answered: the connection is idle, or still receives the rest of a body."""
        if (self.cycle.more_body and not self.pipeline) or self._in_head:
            self._expect_head()
        self._idle[self] = None
        super().on_response_complete()

    def _should_upgrade(self) -> bool:
        return self.scope["method"] == "GET" and super()._should_upgrade()

    def _expect_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _stop_waiting(self) -> None:
        self._idle.pop(self, None)
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: HTTPStatus) -> None:
        """Close the connection, with an answer if a head has begun and no other answer is being sent."""
        if self._in_head and (self.cycle is None or self.cycle.response_complete):
            text = f"{status.phrase}\n".encode()
            head = f"HTTP/1.1 {status} {status.phrase}\r\nconnection: close\r\ncontent-type: text/plain\r\n"
            self.transport.write(head.encode() + b"content-length: %d\r\n\r\n%s" % (len(text), text))
        self.transport.close()
