"""Keeps one generation of a program at work and replaces it when the code changes, without a gap."""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from .child import Child
from .launcher import Launcher
from .monitor import CodeChangeMonitor

logger = logging.getLogger(__name__)

SETTLE = 0.05
"""Seconds without a change after which the tree counts as at rest."""

LONGEST_BURST = 5.0
"""Seconds after which changes that never come to rest are loaded as they are."""

REPEATED_SIGNAL = 0.3
"""Seconds in which a second signal counts as the first: a terminal and a process manager both pass Ctrl-C on."""

HEALTHY_AFTER = 10.0
"""Seconds of work after which a crash counts as the first one in a row."""

LONGEST_BACKOFF = 10.0
NAMES_SHOWN = 5


@dataclass(eq=False)
class HandOver:
    """A generation that has been told to work, and those that have been told to stop for it."""

    new: Child
    old: list[Child]
    since: float


class Supervisor:
    """Runs a program as generations of processes, each with the code as it was when it started.

    A change starts the next generation at once. It imports the code, says that it is ready, and only when the
    tree has come to rest meanwhile the old one is told to stop: it finishes what it does while the new one works
    already. Code that can't be loaded never takes over: the last good generation goes on. A generation that
    dies is replaced with exponential backoff.
    """

    def __init__(
        self,
        target: str,
        watch_dir: Path,
        *,
        arguments: tuple[Any, ...] = (),
        check_interval: float = 2.0,
        max_restarts: int = 10,
        import_timeout: float = 30.0,
        noun: str = "worker",
    ) -> None:
        """Prepare; `run` starts the program.

        Args:
            target: `module:function`, called in each generation with a `generation.Generation` and `arguments`.
                Neither is imported here.
            watch_dir: the folder of the code.
            arguments: passed on; must be picklable, may hold sockets.
            check_interval: seconds between two looks at the files, see `CodeChangeMonitor`.
            max_restarts: how often in a row a generation that dies is replaced.
            import_timeout: seconds that loading the code may take.
            noun: what the log calls the program.
        """
        self._target = target
        self._watch_dir = watch_dir.resolve()
        self._arguments = arguments
        self._max_restarts = max_restarts
        self._import_timeout = import_timeout
        self._noun = noun
        self._launcher = Launcher()
        self._monitor = CodeChangeMonitor(watch_dir, self._note_change, check_interval)
        self._wake_receiver, self._wake_sender = os.pipe()
        os.set_blocking(self._wake_receiver, False)
        os.set_blocking(self._wake_sender, False)
        self._noted: SimpleQueue[list[str]] = SimpleQueue()
        self._signals: list[tuple[int, float]] = []
        self._children: list[Child] = []
        self._candidate: Child | None = None
        self._current: Child | None = None
        self._hand_overs: list[HandOver] = []
        self._count = 0
        self._start_at: float | None = None
        self._burst_began: float | None = None
        self._last_change = 0.0
        self._unsaid: dict[str, None] = {}
        self._crashes = 0
        self._stopping = False
        self._exit_code: int | None = None

    def run(self) -> int:
        """Run until a signal ends it; must be called in the main thread.

        SIGTERM and SIGINT let running work be finished, a second one kills it.

        Returns:
            The exit code: 0 after a stop, 128 + signal after a second signal, 1 after too many crashes.
        """
        before = {number: signal.signal(number, self._note_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._monitor.start()
            self._start_at = time.monotonic()
            while not (self._stopping and not self._children):
                self._obey_signals()
                self._take_changes()
                self._keep_time()
                self._wait()
            return self._exit_code or 0
        finally:
            self._monitor.stop()
            for child in self._children:
                child.kill()
            self._launcher.stop()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._wake_receiver)
            os.close(self._wake_sender)

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append((number, time.monotonic()))
        self._wake()

    def _note_change(self, names: list[str]) -> None:
        self._noted.put(names)
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._wake_sender, b"\0")
        except BlockingIOError:
            pass

    def _wait(self) -> None:
        deadlines = [child.import_deadline for child in self._children if child is self._candidate]
        deadlines += [self._start_at] if self._start_at is not None else []
        deadlines += [self._last_change + SETTLE] if self._unsaid or self._is_candidate_ready() else []
        timeout = max(min(deadlines) - time.monotonic(), 0) if deadlines else None
        if not (self._stopping and not self._children):
            sources: list[Any] = [self._wake_receiver, *(child.connection for child in self._children)]
            heard = wait(sources, timeout)
            if self._wake_receiver in heard:
                os.read(self._wake_receiver, 4096)
            for child in [child for child in self._children if child.connection in heard]:
                for message in child.messages():
                    self._hear(child, message)
