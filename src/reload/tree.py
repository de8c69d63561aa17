"""Which files below a directory are source: code, and data by its suffix."""

import os
import stat
from collections.abc import Callable
from typing import NamedTuple

SKIPPED = frozenset({"__pycache__", "node_modules", "venv"})
"""Directories that are skipped, in addition to the hidden ones (`.git`, `.venv`)."""

WRITTEN = frozenset({"logs", "media", "tmp", "uploads"})
"""Directories in which only code is source: the program itself writes the rest."""

DATA = frozenset((
    ".cfg", ".css", ".csv", ".graphql", ".htm", ".html", ".ini", ".j2", ".jinja", ".jinja2", ".js", ".json",
    ".jsonl", ".mako", ".md", ".prompt", ".sql", ".svg", ".tmpl", ".toml", ".tsv", ".txt", ".xml", ".yaml",
    ".yml",
))  # fmt: skip
"""Suffixes of data that code reads when it is loaded, or shows: not those of databases, logs and pictures."""

RACY_NS = 2_000_000_000
"""How old a file must be, in nanoseconds, for its time to prove that it is unchanged: the coarsest file clock
(FAT). Two saves within one tick of it have the same time; Git calls such files racy and compares them."""

Signature = tuple[int, int, int]
"""Modification time and change time in nanoseconds, size in bytes: equal as long as a file is the same."""


def is_skipped(directory: str, is_code: Callable[[str], bool]) -> bool:
    """Whether nothing in a directory counts: hidden or a cache, and `is_code` does not ask for it."""
    name = directory.rpartition(os.sep)[2]
    return (name.startswith(".") or name in SKIPPED) and not is_code(os.path.join(directory, ""))


def is_source(path: str) -> bool:
    """Whether a file of this name counts: code or data, not hidden as what an editor writes, no README."""
    name = path.rpartition(os.sep)[2]
    suffix = os.path.splitext(name)[1]
    return (suffix == ".py" or suffix in DATA) and not name.startswith((".", "README"))


def is_written(path: str, root: str) -> bool:
    """Whether the program itself has probably written a file below `root`."""
    return not path.endswith(".py") and not WRITTEN.isdisjoint(path[len(root) :].split(os.sep)[:-1])


def signature(status: os.stat_result) -> Signature:
    """The signature of a file, from its status."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size


class Scan(NamedTuple):
    """What one pass found."""

    files: dict[str, Signature]
    unreadable: list[str]
    """Directories that are there but could not be read: nothing is known about what is below them."""


def scan(root: str, is_code: Callable[[str], bool] = is_source) -> Scan:
    """Find every file below `root` that counts as source.

    Symbolic links to directories are followed if they lead out of `root`, each target once; those that stay
    inside lead to what is scanned anyway. What disappears during the scan is left out.

    Args:
        root: a real path (`os.path.realpath`).
        is_code: whether the file at a path counts as source, or what is in a hidden folder, with a separator
            at the end.
    """
    found = Scan({}, [])
    linked: set[str] = set()
    pending = [root]
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    is_wanted = is_code(entry.path) and not is_written(entry.path, root)
                    if (is_wanted and _is_file(entry, found.files)) or is_skipped(entry.path, is_code):
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
