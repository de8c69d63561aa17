"""Read by each Python process of uvicorn's tests: our classes instead of uvicorn's, and an event loop.

`SUITE_CLASSES` names both: `reload asyncio`, for instance.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

which, _, loop = os.environ.get("SUITE_CLASSES", "").partition(" ")


def _replace(own: type, ours: type) -> None:
    """Put a class under every name that uvicorn has for its own."""
    for module, loaded in list(sys.modules.items()):
        if module.partition(".")[0] in {"uvicorn", "uvicorn_worker"}:
            for name, value in list(vars(loaded).items()):
                if value is own:
                    setattr(loaded, name, ours)


def _use_reload() -> None:
    """The server, the connections and the reloader of development."""
    import uvicorn.server
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    from uvicorn.supervisors.watchfilesreload import WatchFilesReload

    from src.reload import uvicorn_server
    from src.reload.generation import Generation
    from src.reload.monitor import CodeChangeMonitor
    from src.reload.uvicorn_reload import HandOverReload

    class LastGeneration(Generation):
        """One without a supervisor, and without one that follows it."""

        def __init__(self) -> None:
            self.is_last = True

        def _tell(self, *message: object) -> None:
            pass

        def ready(self, on_stop: Any) -> bool:  # noqa: ARG002
            return True

    own_server = uvicorn.server.Server

    class Server(uvicorn_server.HandOverServer):
        """It exists before its configuration is loaded, as uvicorn's does."""

        def __init__(self, config: uvicorn.Config) -> None:
            own_server.__init__(self, config)

        async def serve(self, sockets: list[socket.socket] | None = None) -> None:
            if not self.config.loaded:
                self.config.load()
            incoming, outgoing = socket.socketpair()
            with incoming, outgoing:
                super().__init__(self.config, LastGeneration(), incoming, outgoing)
                await super().serve(sockets)

    class Reload(HandOverReload):
        """It says what it would reload, step by step, as uvicorn's does."""

        def startup(self) -> None:
            self._changes = SimpleQueue[Path]()
            self._monitors = [self._monitor(folder) for folder in self._config.reload_dirs]

        def _monitor(self, folder: Path) -> CodeChangeMonitor:
            def note(paths: list[str]) -> None:
                for path in paths:
                    self._changes.put(folder / path)

            monitor = CodeChangeMonitor(folder, note, is_code=self._is_code)
            monitor.start()
            return monitor

        def restart(self) -> None:
            pass

        def __next__(self) -> list[Path]:
            try:
                return [self._changes.get(timeout=0.1)]
            except Empty:
                return []

        def shutdown(self) -> None:
            for monitor in self._monitors:
                monitor.stop()

    for protocol in (HttpToolsProtocol, H11Protocol):
        movable = uvicorn_server._movable(protocol, uvicorn_server._is_between_requests)
        movable.__name__ = protocol.__name__
        _replace(protocol, movable)
    _replace(own_server, Server)
    Reload.__name__ = WatchFilesReload.__name__
    _replace(WatchFilesReload, Reload)


def _use_production() -> None:
    """Gunicorn's worker, with its server and its connections."""
    import uvicorn.server
    import uvicorn_worker
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from src.kit.web.connection_limits import LimitedProtocol
    from src.kit.web.gunicorn_worker import LingeringServer, LingeringWorker

    class Server(LingeringServer):
        """One of several in a process."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            LimitedProtocol._is_ending = False

    class UvicornWorker(LingeringWorker):
        """Ours, by the name of the class that it replaces: it is part of the names of tests."""

    globals()["UvicornWorker"] = UvicornWorker  # Gunicorn gets it as `sitecustomize.UvicornWorker`
    LimitedProtocol.__name__ = HttpToolsProtocol.__name__
    _replace(uvicorn_worker.UvicornWorker, UvicornWorker)
    _replace(HttpToolsProtocol, LimitedProtocol)
    _replace(uvicorn.server.Server, Server)


def _save(path: Path, *arguments: Any, **options: Any) -> None:
    """The tests touch a file to change it, but what has the same content has not changed for ours."""
    if path.exists():
        path.write_bytes(os.urandom(8))
    else:
        _touch(path, *arguments, **options)


if loop == "asyncio":
    sys.modules["uvloop"] = None  # type: ignore[assignment]
elif loop == "uvloop":
    import uvloop

    asyncio.events.new_event_loop = uvloop.new_event_loop
if which == "reload":
    _touch, Path.touch = Path.touch, _save  # type: ignore[assignment, method-assign]
    _use_reload()
elif which == "production":
    _use_production()
