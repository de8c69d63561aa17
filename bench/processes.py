"""Starts the programs that are measured, and leaves none of them behind."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import psutil

_MARK = "BENCH_PROCESS"


@contextlib.contextmanager
def running(
    command: Sequence[str], directory: Path, log: Path, environment: Mapping[str, str]
) -> Iterator[psutil.Process]:
    """Run a program in a session of its own; at the end, stop it and everything that it has started.

    Args:
        command: program and arguments.
        directory: where it runs.
        log: gets its output.
        environment: added to ours, less what is meant for Python here.
    """
    mark = uuid4().hex
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    own = {"PYTHONUNBUFFERED": "1", **environment, _MARK: mark}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=inherited | own,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        # Twice: the first may have started another while we looked.
        for _ in range(2):
            for left in _marked(mark):
                with contextlib.suppress(psutil.Error):
                    left.kill()
        process.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of all processes of a program that `running` has started.

    Those that have ended count as long as each of them had a parent that waited for it.
    """
    total = 0.0
    for each in _family(process):
        with contextlib.suppress(psutil.NoSuchProcess):  # its parent knows
            total += sum(each.cpu_times()[:4])
    return total


def memory(process: psutil.Process) -> int:
    """Bytes that all of its processes have: what they share counts once (PSS), on macOS each time (RSS)."""
    total = 0
    for each in _family(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            found = each.memory_full_info()
            total += getattr(found, "pss", found.rss)
    return total


def last_line(log: Path) -> str:
    """The last thing that a program has said."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it says nothing"


def _family(process: psutil.Process) -> list[psutil.Process]:
    return _marked(process.environ()[_MARK])


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(_MARK) == mark:
                found.append(process)
    return found
