"""Copies of this repository for tests that change files or run `make`."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.kit.services import ROOT

IGNORED = (".git", ".venv", ".env", "secrets", "data", "logs", "__pycache__", ".*_cache", "*.log")


def copy_repository(target: Path) -> None:
    """Copy what a clone of this working tree would hold, uncommitted changes included."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:  # unpacked from an archive
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*IGNORED), dirs_exist_ok=True)
        return
    for name in filter(None, result.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def share_environment(target: Path) -> None:
    """Have a copy use the `.venv` of this repository: without it, `make` installs another."""
    if Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():
        (target / ".venv").symlink_to(ROOT / ".venv")
