"""What reaches the supervisor from outside its loop: signals, and changes that the monitors notice."""

import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import FrameType

from .monitor import CodeChangeMonitor
from .wakeup import Wakeup

STOP_SIGNALS = signal.SIGTERM, signal.SIGINT


class Inbox:
    """Calls back in the supervisor's loop for what signal handlers and the monitors' threads noted."""

    def __init__(
        self,
        roots: Sequence[str],
        check_interval: float,
        is_code: Callable[[str], bool],
        on_change: Callable[[list[str]], None],
        on_signal: Callable[[int, float], None],
    ) -> None:
        """Watch these folders once it is opened; `on_change` gets paths, `on_signal` its number and time."""
        self._on_change = on_change
        self._on_signal = on_signal
        self._wakeup = Wakeup()
        self._noted: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._monitors = [
            CodeChangeMonitor(root, functools.partial(self._note_change, root), check_interval, is_code)
            for root in roots
        ]

    def open(self) -> None:
        """Start to listen; must be called in the main thread."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._note_signal)
        for monitor in self._monitors:
            monitor.start()

    def close(self) -> None:
        """Stop watching the folders; signals no longer matter, not even while the interpreter exits."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for monitor in self._monitors:
            monitor.stop()

    def fileno(self) -> int:
        """A descriptor that is readable while there is something new."""
        return self._wakeup.fileno()

    def take(self) -> None:
        """Call back for everything that is new."""
        self._wakeup.clear()
        while not self._noted.empty():
            self._noted.get()()

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._noted.put(functools.partial(self._on_signal, number, time.monotonic()))
        self._wakeup.set()

    def _note_change(self, root: str, names: list[str]) -> None:
        self._noted.put(functools.partial(self._on_change, [os.path.join(root, name) for name in names]))
        self._wakeup.set()
