"""Clones of the template, and services made from them by `make new`."""

import sys
from pathlib import Path

from tests.template.running import run

NAME, SLUG = "Order Service", "order-service"


def commit(folder: Path, message: str = "A change") -> None:
    """Commit everything."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--no-verify", "-m", message)


def clone(source: Path, folder: Path) -> Path:
    """A clone of a repository."""
    run(source, "git", "clone", "--quiet", str(source), str(folder))
    return folder


def make_new(folder: Path, name: str = NAME, **variables: str) -> Path:
    """Turn a clone into a service."""
    run(folder, "make", "new", NAME=name, YES="1", **variables)
    return folder


def add_environment(folder: Path) -> None:
    """Give a service a `.venv` with the packages of this repository's, so that `make` installs none."""
    run(folder, sys.executable, "-m", "venv", "--without-pip", ".venv")
    shared = Path(sys.executable).parent
    (packages,) = folder.glob(".venv/lib/python*/site-packages")
    (original,) = shared.parent.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(f"{original}\n")
    for script in shared.iterdir():
        if not (folder / ".venv" / "bin" / script.name).exists():
            (folder / ".venv" / "bin" / script.name).symlink_to(script)
    stamp = "from tools import venv; venv._STAMP.write_text(venv._stamp())"
    run(folder, sys.executable, "-c", stamp)
