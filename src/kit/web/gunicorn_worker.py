"""Gunicorn's worker in production: uvicorn, with a stop that fails no request."""

import asyncio
import sys
from contextlib import suppress
from socket import socket
from typing import Any, ClassVar

from gunicorn.arbiter import Arbiter
from uvicorn import Server
from uvicorn_worker import UvicornWorker

from src.kit.web.connection_limits import LimitedProtocol

LINGER = 2.0
"""Seconds that an idle connection has at a stop for one more request."""


class LingeringServer(Server):
    """Uvicorn's server, except that its stop cuts off no request that is on its way.

    Uvicorn closes what waits for its next request, and what it has accepted and not read yet. The client may
    have sent its request meanwhile, and gets no answer.
    """

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Accept no more connections, close each with the next answer, and only then the idle ones."""
        for server in self.servers:
            server.close()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while state.connections:  # noqa: ASYNC110  as uvicorn does
                    await asyncio.sleep(0.05)
        await super().shutdown(sockets)


class LingeringWorker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """`uvicorn-worker`'s class with this server, and with limits for each connection."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {"loop": "auto", "http": LimitedProtocol}

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = LingeringServer(self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
