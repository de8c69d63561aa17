"""Which files are code: every `.py` file below a directory, found with one pass of `os.scandir`."""

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

SKIPPED = frozenset({"__pycache__", "node_modules", "venv"})
"""Directories that are skipped, in addition to the hidden ones (`.git`, `.venv`)."""

RACY_NS = 2_000_000_000
"""How old a file must be, in nanoseconds, for its time to prove that it is unchanged: the coarsest file clock
(FAT). Two saves within one tick of it have the same time; Git calls such files racy and compares them."""

Signature = tuple[int, int, int]
"""Modification time and change time in nanoseconds, size in bytes: equal as long as a file is the same."""


def is_skipped(name: str) -> bool:
    """Whether a file or directory of this name is never code: hidden, or a cache."""
    return name.startswith(".") or name in SKIPPED


def is_python(path: str) -> bool:
    """Whether this is the path of a Python file, and not of a hidden one that an editor is writing."""
    name = path.rpartition(os.sep)[2]
    return name.endswith(".py") and not name.startswith(".")


def signature(status: os.stat_result) -> Signature:
    """The signature of a file, from its status."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


class Scan(NamedTuple):
    """What one pass found."""

    files: dict[str, Signature]
    unreadable: list[str]
    """Directories that are there but could not be read: nothing is known about what is below them."""


def scan(root: str, is_code: Callable[[str], bool] = is_python) -> Scan:
    """Find every file of code below `root`.

    Symbolic links to directories are followed if they lead out of `root`, each target once; those that stay
    inside lead to what is scanned anyway. What disappears during the scan is left out.

    Args:
        root: a real path (`os.path.realpath`).
        is_code: whether the file at a path counts as code.
    """
    found = Scan({}, [])
    linked: set[str] = set()
    pending = [root]
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if (is_code(entry.path) and _is_file(entry, found.files)) or is_skipped(entry.name):
                        continue
                    if _should_enter(entry, root, linked):
                        pending.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            found.unreadable.append(directory)
    return found


def _is_file(entry: os.DirEntry[str], files: dict[str, Signature]) -> bool:
    try:
        status = entry.stat()
    except OSError:  # gone meanwhile, or a link that leads nowhere
        return True
    if not stat.S_ISREG(status.st_mode):
        return False
    files[entry.path] = signature(status)
    return True


def _should_enter(entry: os.DirEntry[str], root: str, linked: set[str]) -> bool:
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
