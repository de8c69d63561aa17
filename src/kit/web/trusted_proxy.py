"""The address of a client behind a proxy that is known by its name, such as the service `edge`.

Uvicorn's `--forwarded-allow-ips` takes addresses, and a container gets a new one at each start.
"""

import asyncio
import socket
import time
from contextlib import suppress

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

PAUSE = 1.0
"""Seconds between two lookups of the name, at least."""


class TrustedProxy:
    """ASGI middleware: believes `X-Forwarded-For` and `X-Forwarded-Proto`, but only from this proxy.

    The proxy has to replace what clients send in these headers.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._proxied = ProxyHeadersMiddleware(app, "*")  # type: ignore[arg-type]  # uvicorn's own types
        self._name = name
        self._addresses: set[str] = set()
        self._looked_at = -PAUSE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_proxied = scope["type"] != "lifespan" and await self._is_proxy((scope.get("client") or [""])[0])
        await (self._proxied if is_proxied else self._app)(scope, receive, send)  # type: ignore[arg-type]

    async def _is_proxy(self, address: str) -> bool:
        if address not in self._addresses and time.monotonic() > self._looked_at + PAUSE:
            with suppress(OSError):  # the proxy does not run: then what it had stays
                found = await asyncio.get_running_loop().getaddrinfo(
                    self._name, None, type=socket.SOCK_STREAM
                )
                self._addresses = {str(each[4][0]) for each in found}
            self._looked_at = time.monotonic()
        return address in self._addresses
