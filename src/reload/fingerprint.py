"""A short fingerprint of a tree of Python files."""

import hashlib
from pathlib import Path


def fingerprint(directory: Path) -> str:
    """Fingerprint of all `.py` files under a directory: the same tree gives the same twelve hex digits."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*.py")):
        digest.update(path.relative_to(directory).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
