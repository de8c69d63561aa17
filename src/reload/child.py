"""One generation of the program, seen from outside: its process, and how far it has come."""

import contextlib
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from .checkpoints import Checkpoints, Forked
from .launcher import Launcher
from .protocol import NAME_PREFIX, Order

GRACE = 2.0
"""Seconds that the supervisor waits longer than the generation itself, which knows where it hangs."""


@dataclass(eq=False)
class Child:
    """A generation's process. It sends the messages of `generation.Generation`."""

    number: int
    process: BaseProcess | Forked
    connection: "Connection[Any, Any]"
    cleans_up: bool
    hangs_at: float | None
    """When it has been importing for too long without reporting that itself; None once it has loaded."""
    started: float = field(default_factory=time.monotonic)
    packages: list[str] = field(default_factory=list)
    ready: bool = False
    changed_at: float | None = None
    """When the change that it brings was noticed; None if it brings none."""
    went_at: float | None = None
    working: bool = False
    quiet: bool = False

    @classmethod
    def start(cls, launcher: Launcher, checkpoints: Checkpoints, number: int, order: Order) -> "Child":
        """Start a generation; `number` is its name in the log.

        Raises:
            OSError: the system can't start another process.
        """
        ours, theirs = multiprocessing.Pipe()
        try:
            name = f"{NAME_PREFIX}{number}"
            forked = checkpoints.start(name, theirs)
            process = forked or launcher.start(name, order._replace(connection=theirs))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(number, process, ours, order.cleans_up, time.monotonic() + order.import_timeout + GRACE)

    def messages(self) -> list[tuple[Any, ...] | None]:
        """What it has sent since the last call; None at the end when it is gone."""
        heard: list[tuple[Any, ...] | None] = []
        try:
            while self.connection.poll():
                heard.append(self.connection.recv())
        except (EOFError, OSError):
            heard.append(None)
        return heard

    def go(self) -> None:
        """Let it work."""
        self.went_at = time.monotonic()
        self._send("go")

    def stop(self, *, is_last: bool = False) -> None:
        """Let it finish what it does, and exit; one that does not work yet has nothing to finish.

        Args:
            is_last: whether none takes over from it.
        """
        if self.went_at:
            self._send("end" if is_last else "stop")
        else:
            self.kill()

    def kill(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it at once; one that cleans up gets this signal."""
        if not self.cleans_up:
            self.process.kill()
        elif isinstance(self.process, Forked):
            self.process.kill(number)
        elif self.process.pid and self.process.exitcode is None:
            os.kill(self.process.pid, number)

    def close(self) -> str:
        """Let go of a process that is gone; returns how it ended, for the log."""
        self.connection.close()
        self.process.join(5)
        code = self.process.exitcode
        with contextlib.suppress(ValueError):  # it is still exiting
            self.process.close()
        if code is None:
            return "died"
        if code < 0:
            return f"was killed ({signal.Signals(-code).name})"
        return f"ended by itself (exit code {code})"

    def _send(self, message: str) -> None:
        with contextlib.suppress(OSError):  # it is gone, as the end of its messages will show
            self.connection.send(message)
