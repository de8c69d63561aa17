"""A protocol that gives way to another one at the first byte, as with `uvicorn --http zttp --http2`."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Dispatcher(asyncio.Protocol):
    """A connection on which nothing has been sent."""

    def __init__(self, **arguments: Any) -> None:
        self._arguments = arguments
        self._connections: set[Any] = arguments["server_state"].connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._connections.discard(self)

    def shutdown(self) -> None:
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._connections.discard(self)
        protocol = H11Protocol(**self._arguments)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(data)
