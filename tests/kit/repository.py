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


def replace(path: Path, text: str) -> None:
    """Save as many editors do: write another file, then rename it, so that nobody reads half of it."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text, "utf-8")
    scratch.replace(path)


def share_environment(target: Path) -> None:
    """Have a copy use the `.venv` of this repository: without it, `make` installs another."""
    if Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():
        (target / ".venv").symlink_to(ROOT / ".venv")


def add_environment(folder: Path) -> None:
    """Give a copy its own `.venv` with the packages of this repository's, so that `make` installs none."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=folder, check=True)
    shared = Path(sys.executable).parent
    (packages,) = folder.glob(".venv/lib/python*/site-packages")
    (original,) = shared.parent.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(f"{original}\n")
    for script in shared.iterdir():
        if not (folder / ".venv" / "bin" / script.name).exists():
            (folder / ".venv" / "bin" / script.name).symlink_to(script)
    if (ROOT / ".mypy_cache").is_dir():  # so that it need not look at the packages again
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache", dirs_exist_ok=True)
    stamp = "from tools import venv; venv._STAMP.write_text(venv._stamp())"
    subprocess.run([sys.executable, "-c", stamp], cwd=folder, check=True)
