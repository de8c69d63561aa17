"""Gunicorn's worker in production: Uvicorn, with a stop that fails no request.

Gunicorn's own `asgi` worker is about as fast, but at a stop it does not notify open event streams, and waits
up to graceful_timeout for idle connections.
"""

import asyncio
import sys
from contextlib import suppress
from socket import socket
from typing import Any, ClassVar

from gunicorn.arbiter import Arbiter
from uvicorn import Server
from uvicorn_worker import UvicornWorker

from src.kit.settings import get_settings
from src.kit.web.connection_limits import LimitedProtocol
from src.kit.web.trusted_proxy import TrustedProxy

LINGER = 2.0
"""Seconds at a stop in which an idle connection may send one more request."""


class LingeringServer(Server):
    """Uvicorn's server, except that its stop drops no request that is on its way.

    Uvicorn closes idle connections, and those that it has accepted but not read yet. The client may have sent
    a request meanwhile, and would get no answer.
    """

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Accept no more connections, close each one after its next answer, and then the idle ones."""
        for server in self.servers:
            server.close()
        state = self.server_state
        LimitedProtocol.end_connections(state.connections)
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while state.connections:  # noqa: ASYNC110  as uvicorn does
                    await asyncio.sleep(0.05)
        await super().shutdown(sockets)


class LingeringWorker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """The class of `uvicorn-worker`, with this server and with limits for each connection."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": LimitedProtocol}

    async def _serve(self) -> None:
        proxy = get_settings().trusted_proxy
        self.config.app = TrustedProxy(self.wsgi, proxy) if proxy else self.wsgi
        server = LingeringServer(self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
