"""A limit on the size of request bodies, answered as a problem.

FastAPI's own `max_body_size` answers in plain text where the length was declared, and closes the connection
on a client that is still sending, which many clients report as a broken pipe instead of the answer.
"""

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.settings import get_settings


def too_large() -> HTTPException:
    """The error for a file that is larger than `MAX_UPLOAD_MB`."""
    return HTTPException(413, f"The file is larger than {get_settings().max_upload_mb} MiB (MAX_UPLOAD_MB).")


class BodyLimit:
    """ASGI middleware: reading a body beyond the limit raises HTTPException 413 in the application.

    Args:
        app: the application behind it.
        max_bytes: largest body in bytes.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a `receive` that counts."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = int(headers.get("content-length", "0"))
        # A client that asks first has sent nothing yet: asking for the body would make it send.
        asks_first = headers.get("expect", "").lower() == "100-continue"
        total = 0

        async def receive_some() -> Message:
            nonlocal total
            if declared > self.max_bytes and asks_first:
                raise too_large()
            message = await receive()
            total += len(message.get("body", b""))
            if max(declared, total) > self.max_bytes:
                await self._discard(receive, message)
                raise too_large()
            return message

        await self.app(scope, receive_some, send)

    async def _discard(self, receive: Receive, message: Message) -> None:
        """Read what the client still sends, up to the limit once more, so that it gets to read the answer."""
        discarded = 0
        while message.get("more_body") and discarded <= self.max_bytes:
            message = await receive()
            discarded += len(message.get("body", b""))
