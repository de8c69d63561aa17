"""One generation of the program, seen from outside: its process and how far it has got."""

import contextlib
import multiprocessing
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from .checkpoints import Checkpoints, Forked
from .launcher import Launcher

GRACE = 2.0
"""Seconds by which the supervisor is more patient than the generation itself, which knows where it hangs."""


class Program(NamedTuple):
    """What a generation runs."""

    target: str
    """`module:function`."""
    arguments: tuple[Any, ...]
    watch_dirs: tuple[str, ...]
    import_timeout: float


@dataclass(eq=False)
class Child:
    """A generation's process. The messages that it sends are those of `generation.Generation`."""

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
        """Start a generation of a program; `number` counts them, for the log.

        Raises:
            OSError: the system has no room for another process.
        """
        ours, theirs = multiprocessing.Pipe()
        try:
            name = f"generation-{number}"
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
        """Whether it is still importing and can't even say so."""
        return not self.loaded and time.monotonic() >= self.import_deadline

    def messages(self) -> list[tuple[Any, ...] | None]:
        """What it has said since; None at the end when it is gone."""
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
        """Have it finish what it does and leave."""
        self._send("stop")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()

    def close(self) -> int | None:
        """Let go of a process that is gone; returns its exit code, negative for a signal, None if unknown."""
        self.connection.close()
        self.process.join(5)
        code = self.process.exitcode
        with contextlib.suppress(ValueError):  # still leaving
            self.process.close()
        return code

    def _send(self, message: str) -> None:
        with contextlib.suppress(OSError):  # it is gone, which the end of its messages tells
            self.connection.send(message)
