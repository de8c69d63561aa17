"""Finds the processes that a test has started, and theirs, whoever their parent is by now."""

import psutil


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
