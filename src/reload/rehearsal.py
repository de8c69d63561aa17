"""A rehearsal: a process that loads the code as a generation does, and leaves checkpoints on its way.

A checkpoint is a process that is paused just before a module is loaded, in the middle of all the imports that
lead there. When that module or a later one changes, a generation is forked from it and continues with the
imports, in their usual order; what came before is not loaded again. Linux only; like `generation.py`, which
imports it, it uses the standard library only.
"""

import contextlib
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from hashlib import blake2b
from multiprocessing import current_process
from multiprocessing.connection import Connection
from typing import Any

from .protocol import Order
from .tree import RACY_NS, signature

LONGEST_NAME = 100


class Rehearsal:
    """Decides where checkpoints are, and becomes them.

    A generation that is forked from a checkpoint must be the same as one that loads all the code itself. So a
    checkpoint is stale once a file that was read before it has changed, and none is made after the code has
    started a thread, or opened a socket or a database, which a fork must not share.
    """

    def __init__(self, order: Order, resume: Callable[["Connection[Any, Any]"], None]) -> None:
        """Start the rehearsal; the code is loaded afterwards.

        Args:
            order: what to rehearse. Each checkpoint sends its announcement together with a socket, through
                which it can be asked for a generation.
            resume: called in a generation that a checkpoint has forked, with its connection.
        """
        assert order.announcements  # noqa: S101
        self._announcements = order.announcements
        self._stops = order.stops
        self._resume = resume
        # Compiled code is named after its content, and the rest is not on a disk.
        self._irrelevant = (os.path.join(order.cache, ""), "/proc/", "/sys/", "/dev/")
        self._opened: dict[str, tuple[Any, ...] | None] = {}
        self._has_database = False
        self.is_under_way = True
        self._output = [os.dup(1), os.dup(2)]
        self._shared_at_first = _unforkable()
        with open(os.devnull, "w") as nowhere:  # what the code prints while it is loaded, a generation prints
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        sys.addaudithook(self._note)
        signal.setitimer(signal.ITIMER_REAL, order.import_timeout)

    def before(self, path: str) -> None:
        """Called before a file of code is read; returns in the rehearsal, and in generations forked here."""
        if not self.is_under_way or path not in self._stops:
            return
        if self._has_database or _unforkable() - self._shared_at_first or _threads() > 1:
            self.leave()
        sys.stdout.flush()
        sys.stderr.flush()
        if not os.fork():
            self._resume(self._stand_by(path))

    def leave(self) -> None:
        """End the rehearsal; this process lives on as the parent of its checkpoints."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._announcements.close()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        os._exit(0)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Audit hook: remember what is read."""
        if not self.is_under_way:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, (str, bytes)) and not flags & (os.O_WRONLY | os.O_RDWR):
                path = os.path.abspath(os.fsdecode(path))
                if path not in self._opened and not path.startswith(self._irrelevant):
                    self._opened[path] = None  # so that the next line, which may open it, is not noted
                    self._opened[path] = _identity(path)
        elif event == "sqlite3.connect":
            self._has_database = True

    def _is_stale(self) -> bool:
        return any(_identity(path, known) != known for path, known in self._opened.items())

    def _stand_by(self, path: str) -> "Connection[Any, Any]":
        """Be a checkpoint: fork a generation when asked, and exit once nobody can ask any more.

        Returns:
            Only in a generation: its connection to the supervisor.
        """
        requests, theirs = socket.socketpair()
        with self._announcements, theirs, contextlib.suppress(OSError):  # nobody wants it any more
            socket.send_fds(self._announcements, [os.fsencode(path)], [theirs.fileno()])
        children = Children()
        is_wanted = True
        while is_wanted or children.processes:
            sources: list[Any] = [requests] if is_wanted else []
            ready, _, _ = select.select([*sources, *children.processes], [], [])
            children.reap(ready)
            if requests not in ready:
                continue
            name, received, _, _ = socket.recv_fds(requests, LONGEST_NAME, 2)
            if not received:
                is_wanted = False
            elif self._is_stale():
                os.close(received[0])
                os.close(received[1])
            elif pid := os.fork():
                os.close(received[0])
                children.add(pid, received[1])
                os.write(received[1], pid.to_bytes(4, "little"))
            else:
                requests.close()
                children.close()
                os.close(received[1])
                os.set_inheritable(received[0], False)  # noqa: FBT003
                current_process().name = name.decode()
                self._become_generation()
                return Connection(received[0])
        os._exit(0)

    def _become_generation(self) -> None:
        self.is_under_way = False
        for descriptor, output in enumerate(self._output, start=1):
            os.dup2(output, descriptor)
            os.close(output)


class Children:
    """The generations that a checkpoint has forked."""

    def __init__(self) -> None:
        self.processes: dict[int, tuple[int, int]] = {}
        """By a descriptor that is readable once the process has ended: its id, a pipe for its exit code."""

    def add(self, pid: int, report: int) -> None:
        """Note one more."""
        self.processes[os.pidfd_open(pid)] = pid, report

    def reap(self, ready: list[Any]) -> None:
        """Report the exit codes of those that have ended."""
        for pidfd in [each for each in ready if each in self.processes]:
            pid, report = self.processes.pop(pidfd)
            os.close(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(OSError):
                os.write(report, code.to_bytes(4, "little", signed=True))
            os.close(report)

    def close(self) -> None:
        """Let go of them, in a process that is not their parent."""
        for pidfd, (_, report) in self.processes.items():
            os.close(pidfd)
            os.close(report)


def _identity(path: str, known: tuple[Any, ...] | None = None) -> tuple[Any, ...] | None:
    """A value that differs once a file has changed; None if it is not there, or not a regular file.

    Args:
        known: what this returned before, if it did: a file that was new then is compared by its content.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        identity: tuple[Any, ...] = (*signature(status), status.st_ino)
        if (known is None and time.time_ns() - status.st_mtime_ns < RACY_NS) or (known and len(known) > 4):
            with open(path, "rb") as file:
                identity += (blake2b(file.read()).digest(),)
    except (OSError, ValueError):
        return None
    return identity


def _unforkable() -> set[str]:
    """The sockets and the like that this process has open, and a fork must not share."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            if target.startswith(("socket:", "anon_inode:")):
                found.add(target + descriptor)
    return found


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))
