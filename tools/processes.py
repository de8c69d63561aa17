"""Runs processes side by side in the foreground, prefixes their output, and stops them in order.

Not honcho: its Manager stops everything at once, so Redis would be gone before the worker has finished its
job; it signals process groups, and with them the process of the job; it kills 5 s after the first has ended;
and it leaves all of them running when it gets SIGHUP or SIGKILL itself.
"""

import ctypes
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import psutil

from tools.console import has_colors, say

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_COLOURS = (36, 33, 32, 35)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
LINES_SHOWN = 20
"""Of the log of a process that has failed."""

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(eq=False)
class Process:
    """A command with a name.

    Args:
        one_shot: is expected to end, with code 0.
        last: is stopped after the others have ended, because they need it.
        log: a file for its output, which is shown only if it fails.
        cwd: working directory, if it differs from that of the others.
        variables: what its environment has besides.
    """

    name: str
    command: list[str]
    one_shot: bool = False
    last: bool = False
    log: Path | None = None
    cwd: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    running: "subprocess.Popen[bytes] | None" = field(default=None, init=False)


class ProcessManager:
    """Starts processes; stops all of them on a signal or when one ends."""

    def __init__(
        self, processes: Iterable[Process], *, cwd: Path, environment: Mapping[str, str], grace: float
    ) -> None:
        """Take what to run.

        Args:
            processes: in the order in which they are started.
            cwd: their working directory.
            environment: their environment, all of it.
            grace: seconds between SIGTERM and SIGKILL.
        """
        self._processes = list(processes)
        self._cwd = cwd
        self._environment = dict(environment)
        self._grace = grace
        # Reentrant, so that signal handlers may write to it.
        self._events: SimpleQueue[Process | signal.Signals] = SimpleQueue()
        self._width = max(len(process.name) for process in self._processes)
        self._coloured = has_colors()
        self._silent = False
        self.stopping = False

    def run(self) -> int:
        """Run until a signal or an end; return 0 after a signal, 1 when a process ended unexpectedly."""
        for number in _STOP_SIGNALS:
            signal.signal(number, lambda number, _frame: self._events.put(signal.Signals(number)))
        if _libc:
            # What our processes leave behind becomes our child, so that we find and end it.
            _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
            # If `make` itself is killed, end as well.
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        threading.Thread(target=self._report_lost_output, daemon=True).start()
        for process in self._processes:
            self._start(process)
        event = self._events.get()
        while isinstance(event, Process) and event.one_shot and event.running and event.running.poll() == 0:
            event = self._events.get()
        self.stopping = True
        self._say(self._reason(event))
        self._stop([process for process in self._processes if not process.last])
        self._stop([process for process in self._processes if process.last])
        _kill(psutil.Process().children(recursive=True))
        return 0 if isinstance(event, signal.Signals) else 1

    def _start(self, process: Process) -> None:
        process.running = subprocess.Popen(
            process.command,
            cwd=process.cwd or self._cwd,
            env=self._environment | {**process.variables},
            stdin=subprocess.DEVNULL,
            stdout=process.log.open("ab") if process.log else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # only we get Ctrl-C: we know the order
            preexec_fn=_end_with_parent if _libc else None,
        )
        for target in (self._show_lines, self._report_end):
            threading.Thread(target=target, args=(process, process.running), daemon=True).start()

    def _show_lines(self, process: Process, running: "subprocess.Popen[bytes]") -> None:
        prefix = f"{process.name:{self._width}} | "
        if self._coloured:
            colour = _COLOURS[self._processes.index(process) % len(_COLOURS)]
            prefix = f"\033[{colour}m{prefix}\033[0m"
        lines: Iterable[bytes] = running.stdout or ()
        if process.log and running.wait():
            lines = process.log.read_bytes().splitlines()[-LINES_SHOWN:]
        for line in lines:
            self._say(prefix + line.decode(errors="replace").rstrip("\r\n"))

    def _report_end(self, process: Process, running: "subprocess.Popen[bytes]") -> None:
        running.wait()
        self._events.put(process)

    def _report_lost_output(self) -> None:
        """Stop when the terminal is closed or our pipe's reader has ended: `make` does not pass SIGHUP on."""
        poll = select.poll()
        poll.register(sys.stdout, 0)
        poll.poll()
        self._events.put(signal.SIGHUP)

    def _reason(self, event: Process | signal.Signals) -> str:
        if isinstance(event, signal.Signals):
            return (
                f"Stopping after {event.name}: the worker may finish its job; Ctrl-C again stops it at once."
            )
        assert event.running  # noqa: S101
        code = event.running.returncode
        how = f"with code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return f"{event.name} ended {how}: stopping the others."

    def _stop(self, processes: list[Process]) -> None:
        """End processes with SIGTERM; with SIGKILL after the grace period or another Ctrl-C."""
        running = [process.running for process in processes if process.running]
        for each in running:
            each.terminate()
        end = time.monotonic() + self._grace
        while any(each.poll() is None for each in running):
            try:
                event = self._events.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                event = signal.SIGINT
            if event is signal.SIGINT:
                for each in running:
                    if each.poll() is None:
                        _kill([*psutil.Process(each.pid).children(recursive=True), psutil.Process(each.pid)])

    def _say(self, line: str) -> None:
        if self._silent:
            return
        try:
            say(line)
        except OSError:
            self._silent = True


def _end_with_parent() -> None:
    assert _libc  # noqa: S101
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill(processes: Iterable[psutil.Process]) -> None:
    listed = list(processes)
    for process in listed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(listed, timeout=5)
