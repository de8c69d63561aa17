"""A short name for the code as it is on disk."""

import hashlib
import os
from pathlib import Path

from .tree import scan


def fingerprint(directory: Path) -> str:
    """Twelve hexadecimal digits that identify all `.py` files below a directory, the same in every process.

    Only paths and contents count. Hidden directories and caches are left out.
    """
    root = os.path.realpath(directory)
    digest = hashlib.sha256()
    for name, path in sorted((Path(path).relative_to(root).as_posix(), path) for path in scan(root).files):
        try:
            content = Path(path).read_bytes()
        except OSError:  # vanished since the scan
            continue
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]
