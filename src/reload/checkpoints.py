"""The checkpoints of `rehearsal.py`, seen from the supervisor, which forks generations from them."""

import contextlib
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Iterable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from .launcher import Launcher
from .protocol import Order

logger = logging.getLogger(__name__)

CHECKPOINTS = 6
"""How many to make: processes that share most of their memory; each adds about 10 MB."""

MOST = 2 * CHECKPOINTS
"""With so many before a change, all are made anew."""

QUIET = 0.2
"""Seconds of work after which they are made for the next change."""

LEAST_FILES = 80
"""The fewest files of code for which they pay: fewer load in the time that a fork takes."""

LONGEST_PATH = 4096
"""Bytes."""

REMEMBERED = 3
"""How many of the files that changed last get a checkpoint of their own."""


class Forked:
    """The process of a generation that a checkpoint has forked, used like a `multiprocessing.Process`."""

    def __init__(self, pid: int, reports: int) -> None:
        """Take the process, and the pipe through which the checkpoint will report its exit code."""
        self._pidfd = os.pidfd_open(pid)
        self._reports = reports
        self.exitcode: int | None = None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it at once, or send it another signal."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def join(self, timeout: float) -> None:
        """Wait so many seconds for it to end; `exitcode` stays None if the checkpoint has died, too."""
        if self.exitcode is None and select.select([self._reports], [], [], timeout)[0]:
            report = os.read(self._reports, 4)
            self.exitcode = int.from_bytes(report, "little", signed=True) if report else None

    def close(self) -> None:
        """Let go of it."""
        os.close(self._pidfd)
        os.close(self._reports)


class Checkpoint(NamedTuple):
    """A checkpoint that waits for requests."""

    path: str
    """The file that it would load next."""
    requests: socket.socket


class Checkpoints:
    """The checkpoints of the last rehearsals, and those of earlier ones until one from the start is over."""

    def __init__(self, launcher: Launcher) -> None:
        self.rehearse_at: float | None = None
        """When the next rehearsal is due."""
        self._launcher = launcher
        self._files: list[str] = []
        self._changed: list[str] = []
        self._rehearsals: list[BaseProcess] = []
        self._earlier: list[Checkpoint] = []
        self._latest: list[Checkpoint] = []
        self._announcements: socket.socket | None = None
        self._is_possible = _are_possible()

    @property
    def announcements(self) -> list[socket.socket]:
        """What to wait for: once it is readable, call `accept`."""
        return [self._announcements] if self._announcements else []

    def loaded(self, files: list[str]) -> None:
        """Note the files of code of the newest generation, in the order in which they were loaded."""
        self._files = files

    def note_change(self, paths: Iterable[str]) -> None:
        """Note changed files; a new one, or one that is gone, may change what any import finds."""
        self.rehearse_at = None
        places = {path: place for place, path in enumerate(self._files)}
        for path in paths:
            if path not in places or not os.path.exists(path):
                self.clear()
                continue
            self._changed = [path, *(other for other in self._changed if other != path)][:REMEMBERED]
            for checkpoints in (self._latest, self._earlier):
                while checkpoints and places.get(checkpoints[-1].path, 0) > places[path]:
                    checkpoints.pop().requests.close()

    def rehearse_soon(self) -> None:
        """Plan a rehearsal, unless another change comes first."""
        self.rehearse_at = time.monotonic() + QUIET

    def rehearse(self, name: str, order: Order) -> None:
        """Make checkpoints for the next change, in the background; the present ones stay until then.

        Args:
            name: that of the next generation, as far as it is known: the code may look at it.
            order: what the generations get.
        """
        self.rehearse_at = None
        if not self._is_possible or len(self._files) < LEAST_FILES or not self._launcher.is_warm:
            return
        self._end_rehearsal()
        self._announcements, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.suppress(OSError):
            if self._go_on(name, theirs):
                return
            self._earlier += self._latest
            self._latest = []
            self._rehearsals = [process for process in self._rehearsals if process.is_alive()]
            order = order._replace(announcements=theirs, stops=frozenset(self._stops()))
            self._rehearsals.append(self._launcher.start(name, order))

    def _go_on(self, name: str, announcements: socket.socket) -> bool:
        """Have the last checkpoint before what has changed go on with its rehearsal, if there is one."""
        while 0 < len(self._latest) < MOST and self._latest[-1].path in self._files:
            with contextlib.suppress(OSError, ValueError):
                if not (stops := self._stops()):
                    return True
                if forked := _ask(self._latest[-1].requests, "\0".join([name, *stops]), announcements):
                    forked.close()
                    return True
            self._latest.pop().requests.close()
        return False

    def _stops(self) -> list[str]:
        """The files that get a checkpoint, after those that have one."""
        paths = [each.path for each in self._latest]
        files = self._files[self._files.index(paths[-1]) + 1 :] if paths else self._files
        stops = [path for path in self._changed if path in files]
        others = [path for path in files if path not in stops]
        count = max(min(CHECKPOINTS - len(paths) - len(stops), len(others)), 0)
        return [*stops, *(others[(2 * n + 1) * len(others) // (2 * count)] for n in range(count))]

    def accept(self) -> None:
        """Note a checkpoint that has announced itself, or the end of the rehearsal."""
        assert self._announcements  # noqa: S101
        path, descriptors, _, _ = socket.recv_fds(self._announcements, LONGEST_PATH, 1)
        self._latest += [
            Checkpoint(os.fsdecode(path), socket.socket(fileno=descriptor)) for descriptor in descriptors
        ]
        if not descriptors:
            self._end_rehearsal()
            logger.debug("%d checkpoints for the next change", len(self._latest))

    def _end_rehearsal(self) -> None:
        if self._announcements:
            self._announcements.close()
            self._announcements = None
        _close(self._earlier)

    def start(self, name: str, connection: "Connection[Any, Any]") -> Forked | None:
        """Fork a generation from the last checkpoint before whatever has changed; None if there is none."""
        for checkpoints in (self._latest, self._earlier):
            while checkpoints:
                with contextlib.suppress(OSError, ValueError):
                    if forked := _ask(checkpoints[-1].requests, name, connection):
                        return forked
                checkpoints.pop().requests.close()
        return None

    def clear(self) -> None:
        """Let all checkpoints exit, and plan no rehearsal: none can be used any more."""
        self.rehearse_at = None
        self._end_rehearsal()
        _close(self._latest)

    def stop(self) -> None:
        """Let all exit, and wait a moment for that."""
        self.clear()
        for process in self._rehearsals:
            process.join(1)


def _ask(
    checkpoint: socket.socket, request: str, connection: "Connection[Any, Any] | socket.socket"
) -> Forked | None:
    reports, theirs = os.pipe()
    try:
        socket.send_fds(checkpoint, [os.fsencode(request)], [connection.fileno(), theirs])
    finally:
        os.close(theirs)
    if pid := os.read(reports, 4):
        return Forked(int.from_bytes(pid, "little"), reports)
    os.close(reports)  # something that it has read has changed
    return None


def _are_possible() -> bool:
    """Whether this is a Linux whose processes can be waited for by descriptor."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _close(checkpoints: list[Checkpoint]) -> None:
    while checkpoints:
        checkpoints.pop().requests.close()
