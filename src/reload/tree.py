"""Which files are code: every `.py` file below a directory, found with one pass of `os.scandir`."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

SKIPPED = frozenset({"__pycache__", "node_modules", "venv"})
"""Directories that are not entered, beside the hidden ones (`.git`, `.venv`)."""

Signature = tuple[int, int, int]
"""Modification time and change time in nanoseconds, size in bytes: equal for a file that is the same."""


def is_skipped(name: str) -> bool:
    """Whether a file or directory of this name is never code: hidden, or a cache."""
    return name.startswith(".") or name in SKIPPED


def is_python(path: str) -> bool:
    """Whether a file of this path is Python code, and not a hidden one that an editor is writing."""
    name = path.rpartition(os.sep)[2]
    return name.endswith(".py") and not name.startswith(".")


def signature(status: os.stat_result) -> Signature:
    """The signature of a file that `os.stat` or `os.scandir` has looked at."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


@dataclass(frozen=True, slots=True)
class Scan:
    """What one pass found."""

    files: dict[str, Signature] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    """Directories that are there but could not be read: nothing is known about what is below them."""


def scan(root: str, is_code: Callable[[str], bool] = is_python) -> Scan:
    """Look at every file of code below `root`.

    Symbolic links to directories are followed when they lead out of `root`, each target once; those that stay
    inside lead to what is scanned anyway. What vanishes meanwhile is left out.

    Args:
        root: a real path (`os.path.realpath`).
        is_code: tells it by a file's path.
    """
    found = Scan()
    linked: set[str] = set()
    pending = [root]
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if (is_code(entry.path) and _is_file(entry, found.files)) or is_skipped(entry.name):
                        continue
                    if _is_to_be_entered(entry, root, linked):
                        pending.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found.unreadable.append(directory)
    return found


def _is_file(entry: os.DirEntry[str], files: dict[str, Signature]) -> bool:
    try:
        status = entry.stat()
    except OSError:  # gone since, or a link that leads nowhere
        return True
    if not stat.S_ISREG(status.st_mode):
        return False
    files[entry.path] = signature(status)
    return True


def _is_to_be_entered(entry: os.DirEntry[str], root: str, linked: set[str]) -> bool:
    try:
        if not entry.is_dir():
            return False
        if not entry.is_symlink():
            return True
    except OSError:
        return False
    target = os.path.realpath(entry.path)
    if target in linked or os.path.join(target, "").startswith(os.path.join(root, "")):
        return False
    linked.add(target)
    return True
