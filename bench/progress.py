"""How far the bench is: one line that is written over, or a line a step where nobody watches."""

import sys
import time

WIDTH = 30


class Progress:
    """A progress bar."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0
        self._began = time.monotonic()

    def step(self, what: str) -> None:
        """Say what begins now; all before it is done."""
        self._show(what)
        self._done += 1

    def end(self) -> None:
        """Everything is done."""
        self._show("done")
        print()

    def _show(self, what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        share = self._done / self._steps
        bar = "█" * round(WIDTH * share) + "░" * (WIDTH - round(WIDTH * share))
        line = f"{bar} {100 * share:3.0f} % {minutes}:{seconds:02} {what}"
        if sys.stdout.isatty():
            print(f"\r\x1b[K{line[:110]}", end="", flush=True)
        else:
            print(line, flush=True)
