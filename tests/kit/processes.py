"""Starts processes with a log, and finds what a test has started, whoever its parent is by now."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


def start(command: Sequence[str | Path], log: Path, **options: Any) -> "subprocess.Popen[bytes]":
    """Start a process whose output goes to the end of a log; `options` are those of Popen."""
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, **options)


@contextmanager
def running(command: Sequence[str | Path], log: Path, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run such a process until the end of the block; fails if it does not stop within 30 seconds then."""
    process = start(command, log, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def marked_processes(variable: str, value: str) -> list[psutil.Process]:
    """All living processes that have a variable of this value in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
