"""The watchers whose idle CPU is measured: `python -m bench.watchers ours <folder> <seconds to settle>`.

Prints the seconds between two looks once it has settled (0 where there is no such thing), then the time of
every change that it notices.
"""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import watchfiles

import src.reload.monitor
from src.reload import CodeChangeMonitor

Interval = Callable[[], float]


def ours(folder: Path) -> Interval:
    """The monitor of `src/reload`, with file events."""
    monitor = CodeChangeMonitor(folder, lambda _names: _say(time.time()))
    monitor.start()
    return lambda: monitor.interval


def ours_without_events(folder: Path) -> Interval:
    """The same on a mount that has no file events."""

    def no_events(*_arguments: object) -> None:
        raise OSError("none in this measurement")

    vars(src.reload.monitor)["read_events"] = no_events
    return ours(folder)


def watchfiles_events(folder: Path) -> Interval:
    """What `watchfiles` and everything built upon it does."""
    return _watch(folder, polling=False)


def watchfiles_polling(folder: Path) -> Interval:
    """What they do with WATCHFILES_FORCE_POLLING, which mounts without events need."""
    return _watch(folder, polling=True)


def _watch(folder: Path, *, polling: bool) -> Interval:
    def watch() -> None:
        for _ in watchfiles.watch(
            folder, watch_filter=watchfiles.PythonFilter(), force_polling=polling, raise_interrupt=False
        ):
            _say(time.time())

    threading.Thread(target=watch, daemon=True).start()
    return lambda: 0.0


def _say(number: float) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


WATCHERS = {
    "ours": ours,
    "ours-without-events": ours_without_events,
    "watchfiles": watchfiles_events,
    "watchfiles-polling": watchfiles_polling,
}

if __name__ == "__main__":
    interval = WATCHERS[sys.argv[1]](Path(sys.argv[2]))
    time.sleep(float(sys.argv[3]))
    _say(interval())
    threading.Event().wait()
