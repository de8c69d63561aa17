"""What every answer gets, whoever gives it: the request's id, safe headers, a log line, and a count."""

import logging
from collections.abc import Callable
from time import perf_counter

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.kit import request_id
from src.kit.settings import get_settings
from src.kit.web import metrics

logger = logging.getLogger("src.access")

CLIENT_GONE = 499  # nginx' status for a client that left before the answer

HEADERS = {
    # A browser must not guess another type from the first bytes of a file.
    "X-Content-Type-Options": "nosniff",
    # No other site may put it into a frame; a page may set a stricter policy.
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; object-src 'none'",
    # With no-referrer, the forms of our own pages would send `Origin: null`, which `security` refuses.
    "Referrer-Policy": "same-origin",
}
"""Headers of every response, unless the application has set them itself."""


class RequestObserver:
    """ASGI application around a whole application, so that no answer escapes it.

    It assigns the request's id, adds headers to the answer, counts the request, and logs it in production. In
    development the server does that, in its own format.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._log = get_settings().environment == "production"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = perf_counter()
        status: int | None = None
        current = request_id.accept(Headers(scope=scope).get(request_id.HEADER))
        # Not reset at the end: what the server logs about the request afterwards belongs to it, too.
        request_id.use(current)

        async def send_and_watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.append(request_id.HEADER, current)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                # Few caches know X-API-Key. A file can at least be compared with what the browser has.
                headers.setdefault("Cache-Control", "private, no-cache" if "ETag" in headers else "no-store")
                metrics.count_request(scope, status, perf_counter() - begin)
            await send(message)

        try:
            await self.app(scope, receive, send_and_watch)
        finally:
            if status is None:
                status = CLIENT_GONE
                metrics.count_request(scope, status, perf_counter() - begin)
            if self._log:
                self._write(scope, status, perf_counter() - begin)

    def _write(self, scope: Scope, status: int, seconds: float) -> None:
        client = scope.get("client")
        # Only the path: a query string may contain private data.
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration": round(seconds, 6),
            "client": client[0] if client else None,
        }
        if name := scope.get("key_name"):
            fields["key_name"] = name
        logger.info("%s %s %d", scope["method"], scope["path"], status, extra=fields)


class ObservedApi(FastAPI):
    """FastAPI whose answers are all observed, including those of its handler of unexpected errors.

    Starlette puts that handler outside all middleware that `add_middleware` adds.
    """

    before_serving: Callable[[], None]
    """For `src.reload`, which calls it before the code takes over."""

    def build_middleware_stack(self) -> ASGIApp:
        return RequestObserver(super().build_middleware_stack())
