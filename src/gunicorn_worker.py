"""Gunicorn's worker: uvicorn, as `uvicorn-worker` runs it, with a stop that fails no request."""

import asyncio
import time
from socket import socket

from uvicorn import Server
from uvicorn_worker import UvicornWorker

LINGER = 2.0
"""Seconds that an idle connection gets at a stop for its next request, which is its last."""


class LingeringServer(Server):
    """Uvicorn's server, except that a stop does not cut off requests that are already on their way.

    Uvicorn closes what waits for its next request and what it has accepted and not read yet. The client may have
    sent a request meanwhile, and sees the connection end without an answer.
    """

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Accept nothing any more, answer what comes on open connections, and close each of them with that."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        deadline = time.monotonic() + LINGER
        while self.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110  as uvicorn does
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


class LingeringWorker(UvicornWorker):
    """`UvicornWorker` with a `LingeringServer`."""

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = LingeringServer(config=self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            raise SystemExit(3)
