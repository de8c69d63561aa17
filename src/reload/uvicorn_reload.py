"""Uvicorn's reloader with a hand-over: the parent keeps the listening socket, generations take turns."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from uvicorn import Config
from uvicorn._ansi import style
from uvicorn.supervisors.watchfilesreload import FileFilter

from .supervisor import Supervisor
from .tree import DATA

logger = logging.getLogger("uvicorn.error")


class HandOverReload:
    """A replacement for uvicorn's `ChangeReload`: the same arguments, log lines and file filters.

    Data that code reads counts, too (`tree.DATA`). A change has a different effect: the next generation loads
    the code and starts first, and only then does the one before it stop accepting, finish its requests and
    exit. Broken code changes nothing.
    """

    def __init__(
        self,
        config: Config,
        target: Callable[[list[socket.socket] | None], None],  # noqa: ARG002
        sockets: list[socket.socket],
    ) -> None:
        """Prepare; the arguments are those that uvicorn's command line passes to its reloader.

        Args:
            config: what to serve, and which folders to watch.
            target: what uvicorn would run in a new process; a generation runs its own server.
            sockets: bound; all generations listen on them.
        """
        self._config = config
        self._sockets = sockets
        self._filter = FileFilter(config)
        self._filter.includes += [f"*{suffix}" for suffix in DATA]
        self._filter.excludes.append("README*")
        self._hidden = {name for pattern in self._filter.includes for name in Path(pattern).parts[:-1]}

    def run(self) -> None:
        """Serve until a signal ends it.

        Raises:
            SystemExit: the server crashed too often, or a second signal came.
        """
        self._say("Started reloader process [%s] using WatchFiles")
        for listening in self._sockets:
            listening.listen(self._config.backlog)  # a client that arrives between two generations waits
        incoming, outgoing = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        supervisor = Supervisor(
            f"{__package__}.uvicorn_server:serve",
            self._config.reload_dirs,
            arguments=(self._config, self._sockets, incoming, outgoing),
            is_code=self._is_code,
            say_changes=self._say_changes,
            noun="server",
        )
        code = supervisor.run()
        self._say("Stopping reloader process [%s]")
        if code:
            sys.exit(code)

    def _is_code(self, path: str) -> bool:
        if path.endswith(os.sep):
            return Path(path).name in self._hidden
        return self._filter(Path(path))

    def _say(self, message: str) -> None:
        in_color = message.replace("%s", style("%s", fg="cyan", bold=True))
        logger.info(message, os.getpid(), extra={"color_message": in_color})

    def _say_changes(self, paths: list[str]) -> None:
        here = os.path.join(os.getcwd(), "")
        names = ", ".join(f"'{path.removeprefix(here)}'" for path in paths)
        logger.warning("WatchFiles detected changes in %s. Reloading...", names)
