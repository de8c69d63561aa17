"""What is seen of each request from outside: its id, its line in the log, its count."""

import logging
from time import perf_counter

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.kit import request_id
from src.kit.settings import get_settings
from src.kit.web import metrics

logger = logging.getLogger("src.access")

CLIENT_GONE = 499
"""Status of a request that was not answered, since its client had gone; nginx' number."""


class RequestObserver:
    """ASGI application around all of another, so that no answer is missed, whoever gives it.

    It gives a request its id and the answer the header, counts it, and in production logs it. In development
    the server does that, in its own format.

    Args:
        app: the application with all its middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._log = get_settings().environment == "production"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and watch what is answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = perf_counter()
        status: int | None = None
        current = request_id.accept(Headers(scope=scope).get(request_id.HEADER))
        # Not taken back at the end: what the server says about the request afterwards belongs to it, too.
        request_id.use(current)
        header = (request_id.HEADER.lower().encode(), current.encode())

        async def send_and_watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
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
        # The path alone: a query string may hold what is nobody's business.
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration": round(seconds, 6),
            "client": client[0] if client else None,
        }
        logger.info("%s %s %d", scope["method"], scope["path"], status, extra=fields)


class ObservedApi(FastAPI):
    """FastAPI whose every answer is observed, also that of its own handler of unexpected errors.

    Starlette puts that handler outside of all middleware that is added with `add_middleware`.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """The application with all its middleware, observed."""
        return RequestObserver(super().build_middleware_stack())
