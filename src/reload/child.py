"""One generation of the program, seen from outside: its process, and how far it has come."""

import contextlib
import multiprocessing
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from .checkpoints import Checkpoints, Forked
from .launcher import Launcher
from .protocol import NAME_PREFIX

GRACE = 2.0
"""Seconds that the supervisor waits longer than the generation itself, which knows where it hangs."""


class Program(NamedTuple):
    """What a generation runs."""

    target: str
    """`module:function`."""
    arguments: tuple[Any, ...]
    watch_dirs: tuple[str, ...]
    import_timeout: float


@dataclass(eq=False)
class Child:
    """A generation's process. It sends the messages of `generation.Generation`."""

    number: int
    process: BaseProcess | Forked
    connection: "Connection[Any, Any]"
    import_deadline: float
    started: float = field(default_factory=time.monotonic)
    packages: list[str] = field(default_factory=list)
    loaded: bool = False
    ready: bool = False
    went_at: float | None = None
    working: bool = False
    quiet: bool = False

    @classmethod
    def start(cls, launcher: Launcher, checkpoints: Checkpoints, number: int, program: Program) -> "Child":
        """Start a generation of a program; `number` is its name in the log.

        Raises:
            OSError: the system can't start another process.
        """
        ours, theirs = multiprocessing.Pipe()
        try:
            name = f"{NAME_PREFIX}{number}"
            process = checkpoints.start(name, theirs) or launcher.start(
                name, (theirs, *program, launcher.cache)
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(number, process, ours, time.monotonic() + program.import_timeout + GRACE)

    @property
    def hangs(self) -> bool:
        """Whether it has been importing for too long, without reporting that itself."""
        return not self.loaded and time.monotonic() >= self.import_deadline

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

    def stop(self) -> None:
        """Let it finish what it does, and exit."""
        self._send("stop")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

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
