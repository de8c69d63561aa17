"""Limits on the size of request bodies and the time they take; violations are answered as problems.

FastAPI's own `max_body_size` answers in plain text if the length was declared, and closes the connection
while the client is sending, which many clients report as a broken pipe instead of the answer. Neither Uvicorn
nor Gunicorn limits the time (https://github.com/Kludex/uvicorn/issues/157).
"""

import asyncio
import time

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.kit.settings import get_settings

PATIENCE = 20.0
"""Seconds for which a body may arrive more slowly than `BYTES_A_SECOND`, or not at all."""

BYTES_A_SECOND = 8 * 1024
"""A body that arrives at least this fast may take any time."""

MAX_DIGITS = 18
"""Of a Content-Length; a longer one exceeds any limit."""


def too_large() -> HTTPException:
    """The error for a file that is larger than `MAX_UPLOAD_MB`."""
    return HTTPException(413, f"The file is larger than {get_settings().max_upload_mb} MiB (MAX_UPLOAD_MB).")


def too_slow() -> HTTPException:
    """The error for a body that stops or trickles in; the rest of it is not awaited."""
    return HTTPException(
        408,
        f"The request body arrived too slowly: less than {BYTES_A_SECOND // 1024} KiB per second for "
        f"{PATIENCE:.0f} seconds; send it again on a better connection.",
        headers={"Connection": "close"},
    )


class BodyLimit:
    """ASGI middleware: reading a body beyond a limit raises HTTPException 413 or 408 in the application."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body(Headers(scope=scope), receive, self.max_bytes)
        answered = False

        async def receive_some() -> Message:
            try:
                return await body.receive()
            except HTTPException:
                if answered:  # a stream that only checks whether the client is still connected
                    return {"type": "http.disconnect"}
                raise

        async def send_on(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        await self.app(scope, receive_some, send_on)


class _Body:
    """The body of one request while it is read."""

    def __init__(self, headers: Headers, receive: Receive, max_bytes: int) -> None:
        declared = headers.get("content-length", "0")
        self._declared = int(declared) if len(declared) <= MAX_DIGITS else max_bytes + 1
        # This client waits for permission: reading the body would make it send.
        self._asks_first = headers.get("expect", "").lower() == "100-continue"
        self._receive = receive
        self._max_bytes = max_bytes
        self._is_complete = False
        self._total = 0
        self._patience = PATIENCE

    async def receive(self) -> Message:
        """The next part of the body, and the messages after it.

        Raises:
            HTTPException: 413 or 408.
        """
        if self._is_complete:
            return await self._receive()
        if self._declared > self._max_bytes and self._asks_first:
            raise too_large()
        message = await self._receive_in_time()
        self._total += len(message.get("body", b""))
        if max(self._declared, self._total) > self._max_bytes:
            await self._discard(message)
            raise too_large()
        self._is_complete = not message.get("more_body")
        return message

    async def _receive_in_time(self) -> Message:
        """Wait for the client as long as patience lasts: waiting uses it up, data restores it."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            raise too_slow() from None
        earned = len(message.get("body", b"")) / BYTES_A_SECOND
        self._patience = min(PATIENCE, self._patience - (time.monotonic() - began) + earned)
        return message

    async def _discard(self, message: Message) -> None:
        """Read what the client still sends, at most the limit once more, so that it can read the answer."""
        discarded = 0
        while message.get("more_body") and discarded <= self._max_bytes:
            message = await self._receive_in_time()
            discarded += len(message.get("body", b""))
