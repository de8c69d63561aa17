"""Limits on the size of request bodies, their time and their number; violations are answered as problems.

FastAPI's own `max_body_size` answers in plain text if the length was declared, and closes the connection
while the client is sending, which many clients report as a broken pipe instead of the answer. Neither Uvicorn
nor Gunicorn limits the time (https://github.com/Kludex/uvicorn/issues/157).
"""

import asyncio
import time
from contextlib import ExitStack, suppress
from http import HTTPStatus

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.kit.settings import get_settings
from src.kit.web.at_once import AtOnce

PATIENCE = 20.0
"""Seconds for which a body may arrive more slowly than `BYTES_A_SECOND`, or not at all."""

BYTES_A_SECOND = 8 * 1024
"""A body that arrives at least this fast may take any time."""

REST = 0.02
"""Seconds between two reads of what is thrown away, so that others get their turn."""

LARGE = 1024 * 1024
"""Bytes beyond which a body counts as an upload: Starlette writes such a file to the disk."""

SMALL, QUICK = 64 * 1024, 5.0
"""A body of more bytes counts, too, if it takes more seconds; any connection may hold as much as `SMALL`."""

MAX_DIGITS = 18
"""Of a Content-Length; a longer one exceeds any limit."""

uploads = AtOnce("uploads", "max_uploads")


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
    """ASGI middleware: reading a body beyond a limit raises HTTPException 413, 408, 429 or 503.

    The response is sent at once, and after it what the client still sends is read and thrown away: many
    clients read nothing until they have sent everything.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answered = refused = False

        async def receive_some() -> Message:
            nonlocal refused
            try:
                return await body.receive()
            except HTTPException as error:
                if answered:  # a stream that only checks whether the client is still connected
                    return {"type": "http.disconnect"}
                refused = error.status_code != HTTPStatus.REQUEST_TIMEOUT
                raise

        async def send_on(message: Message) -> None:
            nonlocal answered
            answered = True
            if refused and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                upload.close()
                await body.discard()
                message = {"type": "http.response.body"}
            await send(message)

        with ExitStack() as upload:  # it counts until its route has done its work
            body = _Body(scope, receive, self.max_bytes, upload)
            await self.app(scope, receive_some, send_on)


class _Body:
    """The body of one request while it is read."""

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int, upload: ExitStack) -> None:
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        self._size = int(declared) if len(declared) <= MAX_DIGITS else max_bytes + 1
        # This client waits for permission: reading the body would make it send.
        self._asks_first = headers.get("expect", "").lower() == "100-continue"
        self._scope, self._receive, self._upload = scope, receive, upload
        self._max_bytes = max_bytes
        self._is_complete = self._is_counted = False
        self._total = 0
        self._patience = PATIENCE
        self._began = time.monotonic()

    async def receive(self) -> Message:
        """The next part of the body, and the messages after it.

        Raises:
            HTTPException: 413, 408, 429 or 503.
        """
        if self._is_complete:
            return await self._receive()
        self._check()
        message = await self._receive_in_time()
        self._check()
        return message

    def _check(self) -> None:
        if self._size > self._max_bytes:
            raise too_large()
        is_slow = self._size > SMALL and time.monotonic() - self._began > QUICK
        if (self._size > LARGE or is_slow) and not self._is_counted:
            self._upload.enter_context(uploads.counted(self._scope))
            self._is_counted = True

    async def _receive_in_time(self) -> Message:
        """Wait for the client as long as patience lasts: waiting uses it up, data restores it."""
        self._asks_first = False
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            raise too_slow() from None
        received = len(message.get("body", b""))
        self._total += received
        self._size = max(self._size, self._total)
        self._is_complete = not message.get("more_body")
        earned = received / BYTES_A_SECOND
        self._patience = min(PATIENCE, self._patience - (time.monotonic() - began) + earned)
        return message

    async def discard(self) -> None:
        """Read what the client still sends, at most the limit once more, so that it can read the answer."""
        end = self._total + self._max_bytes
        with suppress(HTTPException):
            while not (self._is_complete or self._asks_first) and self._total <= end:
                await self._receive_in_time()
                await asyncio.sleep(REST)
