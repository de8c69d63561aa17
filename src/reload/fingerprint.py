"""A short name for the code as it is on disk."""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from .tree import scan


def fingerprint(directory: Path | str, loaded: Mapping[str, bytes] | None = None) -> str:
    """Twelve hexadecimal digits that identify all source below a directory, the same in every process.

    Only paths and contents count. Source is what `CodeChangeMonitor` watches by default. Files of which
    `loaded` has the SHA-256, by path, count as they were loaded.
    """
    root = os.path.realpath(directory)
    digest = hashlib.sha256()
    for name, path in sorted((Path(path).relative_to(root).as_posix(), path) for path in scan(root).files):
        try:
            content = (loaded or {}).get(path) or hashlib.sha256(Path(path).read_bytes()).digest()
        except OSError:  # vanished since the scan
            continue
        digest.update(f"{name}\0".encode() + content)
    return digest.hexdigest()[:12]


def loaded_fingerprint(directory: Path) -> str:
    """The fingerprint of the code that this process has loaded; call it once everything is imported.

    In a generation, what was saved after it was imported does not count: it has not been loaded.
    """
    inside = sys.modules.get("__generation__.loader")
    return fingerprint(directory, inside.CachingLoader.files if inside else None)
