"""A rehearsal: a process that loads the code as a generation does, and leaves checkpoints on its way.

A checkpoint is a process that is paused just before a module is loaded, in the middle of all the imports that
lead there. When that module or a later one changes, a generation is forked from it and continues with the
imports, in their usual order; what came before is not loaded again. Linux only; like `generation.py`, which
imports it, it uses the standard library only.
"""

import contextlib
import functools
import gc
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

from .children import Children
from .protocol import Order
from .tree import RACY_NS, signature

LONGEST_REQUEST = 65536
"""Bytes."""

BINDING = frozenset({"sqlite3.connect", "subprocess.Popen", "os.system", "os.posix_spawn"})
"""Audit events after which a process is not the same as another that loads the same code."""

QUESTIONS = ("access", "lstat", "open", "readlink", "stat")
"""What tells about a file without an audit event; that of `open` does not name the folder."""

IMPORTLIB = "<frozen importlib._bootstrap_external>"


class Rehearsal:
    """Decides where checkpoints are, and becomes them.

    A generation that is forked from a checkpoint must be the same as one that loads all the code itself. So a
    checkpoint is stale once a file that was read before it has changed, and none is made after the code has
    started a thread or a process, or opened a socket or a database, which a fork must not share.
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
        self._import_timeout = order.import_timeout
        self._resume = resume
        # Compiled code is named after its content, and the rest is not on a disk.
        self._irrelevant = (os.path.join(order.cache, ""), "/proc/", "/sys/", "/dev/")
        self._seen: dict[str, tuple[Any, ...] | None] = {}
        self._is_bound = False
        self.is_under_way = True
        self._output = [os.dup(1), os.dup(2)]
        self._streams = [sys.stdout, sys.stderr]
        for stream in self._streams:
            vars(stream)["isatty"] = functools.partial(bool, stream.isatty())  # as it will be
        self._shared_at_first = _unforkable()
        with open(os.devnull, "w") as nowhere:  # what the code prints while it is loaded, a generation prints
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        sys.addaudithook(self._note)
        self._asking = {name: self._noting(name) for name in QUESTIONS}
        vars(os).update(self._asking)
        signal.setitimer(signal.ITIMER_REAL, self._import_timeout)

    def before(self, path: str) -> None:
        """Called before a file of code is read; returns in the rehearsal, and in what is forked here."""
        if not self.is_under_way or path not in self._stops:
            return
        if select.select([self._announcements], [], [], 0)[0]:  # the supervisor has closed it
            self.leave()
        if gc.isenabled() and gc.get_threshold()[0]:  # here, so that no generation does, and copies memory
            gc.collect(1 if gc.get_count()[2] < 3 else 2)  # all before that is due, which is after ten
        is_alone = len(os.listdir("/proc/self/task")) == 1
        if self._is_bound or _unforkable() - self._shared_at_first or not is_alone:
            self.leave()
        sys.stdout.flush()
        sys.stderr.flush()
        if not os.fork() and (connection := self._stand_by(path)):
            self._resume(connection)

    def leave(self) -> None:
        """End the rehearsal; this process lives on as the parent of its checkpoints."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._announcements.close()
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()
        os._exit(0)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Audit hook: remember what is read, and what binds the process."""
        if not self.is_under_way:
            return
        if event == "open":
            path, _, flags = arguments
            if _reads(flags):
                self._remember(path)
        elif event in ("os.listdir", "os.scandir"):
            if sys._getframe(1).f_code.co_filename != IMPORTLIB:  # it looks for modules, see `note_change`
                self._remember(arguments[0] or ".", os.sep)
        elif event in BINDING:
            self._is_bound = True

    def _noting(self, name: str) -> Any:
        function = getattr(os, name)

        @functools.wraps(function)
        def noting(path: Any, *args: Any, **options: Any) -> Any:
            if self.is_under_way and (name != "open" or _reads(args[0] if args else options["flags"])):
                folder = options.get("dir_fd")
                base = "" if folder is None else os.readlink(f"/proc/self/fd/{folder}")
                self._remember(os.path.join(base, os.fsdecode(path)) if base else path)
            return function(path, *args, **options)

        return noting

    def _remember(self, path: Any, suffix: str = "") -> None:
        if isinstance(path, int):
            return
        path = os.path.abspath(os.fsdecode(path)) + suffix
        if path not in self._seen and not path.startswith(self._irrelevant):
            self._seen[path] = None  # so that the next line, which may open it, is not noted
            self._seen[path] = _identity(path)

    def _is_stale(self) -> bool:
        return any(_identity(path, known) != known for path, known in self._seen.items())

    def _stand_by(self, path: str) -> "Connection[Any, Any] | None":
        """Be a checkpoint: fork what is asked for, and exit once nobody can ask any more.

        Returns:
            Only in what was forked: a generation's connection to the supervisor; None in a rehearsal, which
            goes on from here and leaves further checkpoints.
        """
        requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
            request, received, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 2)
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
                name, *stops = os.fsdecode(request).split("\0")
                current_process().name = name
                if stops:
                    self._go_on(frozenset(stops), socket.socket(fileno=received[0]))
                    return None
                self._become_generation()
                return Connection(received[0])
        os._exit(0)

    def _go_on(self, stops: frozenset[str], announcements: socket.socket) -> None:
        self._stops, self._announcements = stops, announcements
        self._shared_at_first = _unforkable()
        signal.setitimer(signal.ITIMER_REAL, self._import_timeout)

    def _become_generation(self) -> None:
        self.is_under_way = False
        for name, noting in self._asking.items():
            if getattr(os, name) is noting:  # else the code has patched it, too
                setattr(os, name, noting.__wrapped__)
        for descriptor, output in enumerate(self._output, start=1):
            os.dup2(output, descriptor)
            os.close(output)
        for stream in self._streams:
            del vars(stream)["isatty"]


def _reads(flags: int) -> bool:
    """Whether a file that is opened with these flags has something to read."""
    return not flags & (os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def _identity(path: str, known: tuple[Any, ...] | None = None) -> tuple[Any, ...] | None:
    """A value that differs once a file, or what is in a folder, has changed; None if it is not there.

    Args:
        path: that of a folder counts with the names in it if it ends with a separator.
        known: what this returned before, if it did: a file that was new then is compared by its content.
    """
    try:
        if path.endswith(os.sep):
            return tuple(sorted(os.listdir(path)))
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return (stat.S_IFMT(status.st_mode),)
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
