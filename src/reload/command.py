"""Any program as a generation: the new one starts beside the old one, which gets SIGTERM once it is ready.

The generation's process keeps the program: it passes on signals and output, and when the supervisor dies, it
stops the program.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from .protocol import AT_ONCE
from .tree import signature
from .wakeup import Wakeup

if TYPE_CHECKING:
    from .generation import Generation

MOMENT = 2.0
"""Seconds that a program has to run if nothing says when it is ready."""

GRACE = 10.0
"""Seconds after which a program that was never ready, and has not ended since SIGTERM, is killed."""

LOOK_INTERVAL = 0.05
"""Seconds between two looks at a port or a file."""


def run(generation: "Generation", command: list[str], noun: str, ready: str, patience: float) -> NoReturn:
    """Start a program, say when it is ready, and keep it until it ends.

    Args:
        generation: the line to the supervisor.
        command: the program and its arguments.
        noun: what the log calls it.
        ready: `port:NUMBER`, `file:PATH`, or a regular expression for a line of the output; by default
            (empty) it is ready after `MOMENT`.
        patience: seconds within which it has to be ready.

    Raises:
        SystemExit: the program has ended.
    """
    program = Program(command, ready)
    generation.loaded(program.stop)
    # Not ignored, which the program would inherit: the supervisor gets these signals, too, and decides.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGTERM, program.stop)
    signal.signal(AT_ONCE, program.kill)
    program.start()
    deadline, problem = time.monotonic() + patience, ""
    while not (program.stopped_at or problem or program.is_ready()):
        program.wait(LOOK_INTERVAL)
        if program.exit_code is not None:
            problem = f"it ended with exit code {program.exit_code} before it was ready"
        elif time.monotonic() >= deadline:
            problem = f"it is not ready after {patience:g} s"
    if problem:
        generation.tell_broken("broken", noun, problem, "")
    elif not program.stopped_at:
        threading.Thread(target=_work, args=(generation, program), daemon=True).start()
    was_ready = not (problem or program.stopped_at)
    while program.exit_code is None:
        program.wait(None if was_ready else GRACE)
        if not was_ready and program.stopped_at and time.monotonic() >= program.stopped_at + GRACE:
            program.kill()
    sys.exit(0 if program.stopped_at else program.exit_code)


def _work(generation: "Generation", program: "Program") -> None:
    if generation.ready(program.stop):
        generation.working()


class Program:
    """A program, its output, and whether it is ready."""

    def __init__(self, command: list[str], ready: str) -> None:
        """Prepare; `start` starts it."""
        self._command = command
        is_line = not ready.startswith(("port:", "file:"))
        self._kind, self._where = ("line", ready) if is_line else ready.split(":", 1)
        self._events = Wakeup()
        self._seen = False
        self._is_told = self._is_killed = False
        self.stopped_at: float | None = None
        """When it was asked to stop."""
        self.exit_code: int | None = None
        """As shells say it, 128 + signal if it was killed; None while it runs."""

    def start(self) -> None:
        """Start it in its own process group, which Ctrl-C does not reach."""
        self._began, self._before = time.monotonic(), _stamp(self._where)
        pipe = subprocess.PIPE if self._kind == "line" and self._where else None
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        streams: Any = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe}
        self._process = subprocess.Popen(self._command, env=environment, process_group=0, **streams)
        threading.Thread(target=self._await_end, daemon=True).start()

    def is_ready(self) -> bool:
        """Whether it is ready, by the sign that was agreed on."""
        if self._kind == "port":
            return _listens(self._process.pid, int(self._where))
        if self._kind == "file":
            return _stamp(self._where) not in (None, self._before)
        return self._seen if self._where else time.monotonic() >= self._began + MOMENT

    def stop(self, *_: object) -> None:
        """Let it finish. Safe to call in threads and signal handlers, like `kill`."""
        self.stopped_at = self.stopped_at or time.monotonic()
        self._events.set()

    def kill(self, *_: object) -> None:
        """End it at once, and all that it has started."""
        self._is_killed = True
        self.stop()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until something happens, and pass on what it means for the program."""
        self._events.wait(seconds)
        self._events.clear()
        with contextlib.suppress(ProcessLookupError):
            if self._is_killed:
                os.killpg(self._process.pid, signal.SIGKILL)
            elif self.stopped_at and not self._is_told:
                self._is_told = True
                self._process.terminate()

    def _await_end(self) -> None:
        pipes = ((self._process.stdout, 1), (self._process.stderr, 2))
        threads = [
            threading.Thread(target=self._pass_on, args=pipe, daemon=True) for pipe in pipes if pipe[0]
        ]
        for thread in threads:
            thread.start()
        code = self._process.wait()
        for thread in threads:
            thread.join(1)  # a process that it has left behind may keep the pipe open
        self.exit_code = code if code >= 0 else 128 - code
        self._events.set()

    def _pass_on(self, source: IO[bytes], target: int) -> None:
        for line in iter(source.readline, b""):
            with contextlib.suppress(OSError):  # nobody reads it any more
                os.write(target, line)
            if not self._seen and re.search(self._where, line.decode(errors="replace")):
                self._seen = True
                self._events.set()


def _stamp(path: str) -> tuple[int, ...] | None:
    with contextlib.suppress(OSError):
        return signature(os.stat(path))
    return None


def _listens(group: int, port: int) -> bool:
    """Whether a process of this group listens at a TCP port; on macOS, whether anything does."""
    if sys.platform != "linux":
        with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
            return True
        return False
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [row.split() for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
    here = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended, or belongs to somebody else
            is_ours = os.getpgid(int(pid)) == group
            if is_ours and here.intersection(map(os.readlink, os.scandir(f"/proc/{pid}/fd"))):
                return True
    return False
