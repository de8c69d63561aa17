"""One generation of the API, seen from inside: uvicorn's server, which takes over and hands on connections.

Uvicorn's own shutdown closes connections that wait for their next request, even if the client has already
sent it. Here they move, unread, through a socket that all generations share, to the one that serves now.
"""

import asyncio
import contextlib
import functools
import signal
import socket
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import h11
from uvicorn import Config, Server

from . import debugger, editor
from .pause import is_paused

if TYPE_CHECKING:
    from .generation import Generation

GRACE = 3.0
"""Seconds for WebSockets if `--timeout-graceful-shutdown` sets none; then a request may take any time."""

MOVABLE = {"uvicorn.protocols.http.h11_impl", "uvicorn.protocols.http.httptools_impl"}
"""The modules of the HTTP protocols whose state is known well enough to move their connections."""

UNSENT = 0.01
"""Seconds between two attempts to move a connection whose last response is still being sent."""


def serve(
    generation: "Generation",
    config: Config,
    sockets: list[socket.socket],
    incoming: socket.socket,
    outgoing: socket.socket,
) -> None:
    """Load the application and serve it until the next generation takes over.

    An attribute `before_serving` of the application is called before the hand-over. It may take any time; an
    error in it counts as code that can't be loaded.

    Args:
        generation: the line to the supervisor.
        config: as uvicorn's command line made it.
        sockets: listening, shared by all generations.
        incoming: where connections from the generation before arrive, shared by all generations.
        outgoing: where to send them to the next one.
    """
    config.configure_logging()
    editor.load()
    debugger.install()
    config.load()
    generation.loaded()
    if before_serving := getattr(config.load_app(), "before_serving", None):
        before_serving()
    HandOverServer(config, generation, incoming, outgoing).run(sockets)


class HandOverServer(Server):
    """Uvicorn's server, which starts and stops accepting when its supervisor says so."""

    def __init__(
        self, config: Config, generation: "Generation", incoming: socket.socket, outgoing: socket.socket
    ) -> None:
        """Prepare; the arguments are those of `serve`."""
        super().__init__(config)
        for each in (incoming, outgoing):  # an empty or a full one must not block the event loop
            each.setblocking(False)  # noqa: FBT003
        self._generation = generation
        self._incoming = incoming
        self._outgoing = outgoing
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_leaving = False
        protocol_class: Any = config.http_protocol_class
        is_known = any(base.__module__ in MOVABLE for base in protocol_class.__mro__)
        self._can_move = is_known and not config.is_ssl  # TLS has state that can't move
        if self._can_move:
            config.http_protocol_class = _movable(protocol_class, self._note_idle)
        self._movable: Any = config.http_protocol_class

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM only: Ctrl-C reaches every process of a terminal, and the supervisor decides."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Signal handler; its name and class are how sse-starlette finds the server."""
        self._leave_soon()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, wait for permission to work, and only then accept connections."""
        self._loop = asyncio.get_running_loop()
        start_application = self.lifespan.startup

        async def start_and_wait() -> None:
            await start_application()
            if not self.lifespan.should_exit:
                await asyncio.to_thread(self._generation.ready, self._leave_soon)

        self.lifespan.startup = start_and_wait
        await super().startup(sockets)
        self._loop.add_reader(self._incoming, self._take_over_connections)
        self._generation.working()
        editor.connect()

    def _leave_soon(self) -> None:
        """Have the event loop call `_leave`; safe in threads and signal handlers."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        """Start nothing new; what is under way may finish."""
        if self.started:
            self._is_leaving = True
            asyncio.get_running_loop().remove_reader(self._incoming)
            for server in self.servers:
                server.close()
            for protocol in list(self.server_state.connections):
                self._let_go(protocol)
            self._generation.quiet()
        self.should_exit = True

    def _take_over_connections(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError):
            while True:
                _, descriptors, _, _ = socket.recv_fds(self._incoming, 1, 1)
                for descriptor in descriptors:
                    connection = socket.socket(fileno=descriptor)
                    connection.setblocking(False)  # noqa: FBT003
                    task = loop.create_task(self._adopt(connection))
                    self.server_state.tasks.add(task)
                    task.add_done_callback(self.server_state.tasks.discard)
                if not descriptors:
                    return

    async def _adopt(self, connection: socket.socket) -> None:
        protocol_class: Any = self.config.http_protocol_class
        factory = functools.partial(
            protocol_class,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        with contextlib.suppress(OSError):  # the client has gone
            await asyncio.get_running_loop().connect_accepted_socket(factory, connection)

    def _note_idle(self, protocol: Any) -> None:
        if self._is_leaving:
            self._let_go(protocol)

    def _let_go(self, protocol: Any) -> None:
        """Send a connection between two requests to the next generation; close it if there is none."""
        if self._generation.is_last or not self._can_move:
            protocol.shutdown()
            return
        transport = protocol.transport
        if not isinstance(protocol, self._movable) or transport is None or transport.is_closing():
            return
        if not _is_between_requests(protocol):
            return
        if transport.get_write_buffer_size() > 0:
            asyncio.get_running_loop().call_later(UNSENT, self._let_go, protocol)
            return
        transport.pause_reading()
        descriptor = transport.get_extra_info("socket").fileno()
        try:
            socket.send_fds(self._outgoing, [b"\0"], [descriptor])
        except BlockingIOError:  # the next generation has not taken those before it yet
            transport.resume_reading()
            asyncio.get_running_loop().call_later(UNSENT, self._let_go, protocol)
        else:
            transport.abort()  # closes this process' copy only: the connection lives on in the message

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what is under way; streams that are still open after the grace period are closed.

        The period is counted in steps: a pause at a breakpoint must not use it up.
        """
        if not self._is_leaving:
            await super().shutdown(sockets)
            return
        for sock in sockets or []:
            sock.close()
        limit = self.config.timeout_graceful_shutdown
        left = GRACE if limit is None else limit
        while left > 0 and (self.server_state.connections or self.server_state.tasks):
            await asyncio.sleep(UNSENT)
            left -= 0 if is_paused() or (limit is None and self._is_answering()) else UNSENT
        if self.server_state.connections or self.server_state.tasks:
            self.config.timeout_graceful_shutdown = 0  # what is left has used up its time
        await super().shutdown()

    def _is_answering(self) -> bool:
        """Whether a request is under way, or what it left to do in the background; WebSockets don't count."""
        names = [getattr(task.get_coro(), "__qualname__", "") for task in self.server_state.tasks]
        return any(name.startswith("RequestResponseCycle.") for name in names)


def _movable(protocol_class: type[asyncio.Protocol], note_idle: Callable[[Any], object]) -> Any:
    """Uvicorn's HTTP protocol, which also says when a connection may be idle, and counts begun requests."""

    class Movable(protocol_class):  # type: ignore[misc, valid-type]
        messages_begun = 0
        messages_headed = 0

        def on_message_begin(self) -> None:
            self.messages_begun += 1
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self.messages_headed += 1
            super().on_headers_complete()

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            note_idle(self)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            note_idle(self)

    return Movable


def _is_between_requests(protocol: Any) -> bool:
    """Whether every request of which anything was read has been answered."""
    if protocol.cycle is not None and not protocol.cycle.response_complete:
        return False
    if h11_connection := getattr(protocol, "conn", None):
        data, _ = h11_connection.trailing_data
        return not data and h11_connection.their_state is h11.IDLE
    return not protocol.pipeline and protocol.messages_begun == protocol.messages_headed
