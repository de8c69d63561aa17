"""The connections of the API in production: Uvicorn's, with limits for what comes before the application.

Uvicorn bounds neither the size of a request's head nor the time that it may take, and a connection that says
nothing stays for ever (https://github.com/Kludex/uvicorn/issues/157). A reverse proxy in front bounds them,
and this does where there is none. Bodies have their limits in `body_limit`, where the answer is a problem.
"""

import asyncio
from http import HTTPStatus
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 20
"""For the head of a request; also for the rest of a body that the application did not wait for."""

MAX_HEAD_BYTES = 64 * 1024
"""Of a head that does not come in one read."""

MAX_IDLE = 1000
"""Connections of one process that wait for the head of a request; one more, and the oldest is closed."""


class LimitedProtocol(HttpToolsProtocol):
    """One connection of a client."""

    _idle: ClassVar[dict["LimitedProtocol", None]] = {}
    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: it has to send a head soon."""
        super().connection_made(transport)
        self._expect_head()
        self._idle[self] = None
        if len(self._idle) > MAX_IDLE:
            next(iter(self._idle)).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, for whatever reason."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and look at what has come of a head so far."""
        if self.cycle is not None and self.cycle.response_complete:
            self._expect_head()
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what comes after the body is a trailer, which Uvicorn would take for one."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The end of a head."""
        if self.parser.get_http_version() == "1.1" and [name for name, _ in self.headers].count(b"host") != 1:
            raise ValueError("RFC 9112, 3.2: exactly one Host")  # answered with 400
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()
        if self.parser.should_upgrade() and not self._should_upgrade():
            self.cycle.keep_alive = False  # the parser does not read what follows

    def on_response_complete(self) -> None:
        """The application has answered: the connection is idle, or still holds the rest of a body."""
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
        """Close the connection, with an answer where a head has begun and no other answer is under way."""
        if self._in_head and (self.cycle is None or self.cycle.response_complete):
            text = f"{status.phrase}\n".encode()
            head = f"HTTP/1.1 {status} {status.phrase}\r\nconnection: close\r\ncontent-type: text/plain\r\n"
            self.transport.write(head.encode() + b"content-length: %d\r\n\r\n%s" % (len(text), text))
        self.transport.close()
