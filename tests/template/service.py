"""Clones of the template, and services made from them by `make new`."""

import os
import subprocess
import sys
from pathlib import Path

from tests.template.docker.running import FOREIGN, copy_repository

LONGEST = 900
"""Seconds that a command may take."""

NAME, SLUG = "Order Service", "order-service"

_GIT = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.com"))
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in FOREIGN} | _GIT


def run(folder: Path, *command: str, **variables: str) -> str:
    """Run a command to its end and return what it printed; it has to succeed."""
    code, output = attempt(folder, *command, **variables)
    assert code == 0, output
    return output


def attempt(folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and what it printed."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT | {"RUNTIME": "native"} | variables, timeout=LONGEST,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def commit(folder: Path, message: str = "A change") -> None:
    """Commit everything."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--no-verify", "-m", message)


def template(folder: Path) -> Path:
    """A repository with what a clone of this one would hold, uncommitted changes included."""
    copy_repository(folder)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    commit(folder, "The template")
    return folder


def clone(source: Path, folder: Path) -> Path:
    """A clone of a template."""
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


def mentions(folder: Path, *words: str) -> str:
    """The tracked lines that contain one of the words, in any case."""
    patterns = [part for word in words for part in ("-e", word)]
    return attempt(folder, "git", "grep", "-iInF", *patterns)[1]
