"""Watching: CPU time while nothing happens, in trees of several sizes, and how soon a change is noticed."""

import math
import sys
import time
from pathlib import Path

import psutil

from bench.plan import Plan
from bench.processes import last_line, running
from bench.results import WatchResult
from bench.venvs import UnavailableError
from tools.ports import free_port
from tools.project import ROOT

LOOK = 1.5
"""Seconds in which a look at all files is over."""
SECOND = 1.1
"""Between two saves, since watchfiles compares modification times in whole seconds when it polls."""
PATIENCE = 10.0


def watchers() -> list[WatchResult]:
    """Everybody, with nothing measured yet."""
    return [
        WatchResult("this repository's monitor, file events", "ours"),
        WatchResult("this repository's monitor, without events", "ours-without-events"),
        WatchResult("watchfiles, file events", "watchfiles"),
        WatchResult("watchfiles, forced polling", "watchfiles-polling"),
        WatchResult("`uvicorn --reload`, the parent alone", ""),
    ]


def measure(result: WatchResult, plan: Plan, tree: Path, files: int, programs: Path) -> None:
    """Watch one tree for a while with one watcher; adds to its result.

    Args:
        result: of this watcher.
        plan: how much.
        tree: the watched folder, with nothing happening in it.
        files: how many it has.
        programs: folder of `idle_app`.

    Raises:
        UnavailableError: it can't be measured.
    """
    log = programs.parent / "watcher.log"
    log.unlink(missing_ok=True)
    settle = 1.5 + files / 15_000
    if result.kind:
        command = [sys.executable, "-m", "bench.watchers", result.kind, str(tree), str(settle)]
        directory = ROOT
    else:
        command = [sys.executable, "-m", "uvicorn", "idle_app:app", "--reload", "--reload-dir", str(tree)]
        command += ["--port", str(free_port())]
        directory = programs
    with running(command, directory, log, {}) as process:
        interval = _settled(log, process) if result.kind else _sleep(settle)
        result.cpu[files] = 100 * _idle_share(process, plan, interval, tree)
        if result.kind and files == min(plan.sizes):
            result.noticed += [_notice(log, tree, turn) for turn in range(plan.notices)]


def _idle_share(process: psutil.Process, plan: Plan, interval: float, tree: Path) -> float:
    """Share of a core that a watcher takes, over whole intervals: each has one look at all files."""
    if interval <= plan.longest_idle:
        window = math.ceil(plan.idle / interval) * interval if interval else plan.idle
        return _spent(process, window) / window
    between = _spent(process, plan.idle) / plan.idle
    (tree / "asks-for-a-look").mkdir()
    look = _spent(process, LOOK) - between * LOOK
    return between + look / interval


def _spent(process: psutil.Process, seconds: float) -> float:
    before = _cpu_seconds(process)
    time.sleep(seconds)
    return _cpu_seconds(process) - before


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return 0.0


def _settled(log: Path, process: psutil.Process) -> float:
    end = time.monotonic() + 60
    while not (lines := _numbers(log)):
        if time.monotonic() > end or not process.is_running():
            raise UnavailableError(f"does not watch: {last_line(log)}")
        time.sleep(0.05)
    return lines[0]


def _notice(log: Path, tree: Path, turn: int) -> float:
    time.sleep(SECOND + 0.13 * turn)
    seen, saved = len(_numbers(log)), time.time()
    (tree / "package0" / "module3.py").write_text(f"x = {turn}\n")
    while time.time() - saved < PATIENCE:
        if len(numbers := _numbers(log)) > seen:
            return numbers[seen] - saved
        time.sleep(0.005)
    raise UnavailableError("does not notice a change")


def _numbers(log: Path) -> list[float]:
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    # The last line may not be complete yet; and a watcher may have something to say.
    whole = [line.strip() for line in lines if line.endswith("\n")]
    return [float(line) for line in whole if line.replace(".", "", 1).isdigit()]


def _cpu_seconds(process: psutil.Process) -> float:
    """CPU time of all threads of a process: in nanoseconds where Linux tells it, else in clock ticks."""
    try:
        tasks = Path(f"/proc/{process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, IndexError, ValueError):
        times = process.cpu_times()
        return float(times.user + times.system)
