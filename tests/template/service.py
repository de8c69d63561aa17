"""Clones of the template, and services made from them by `make new`."""

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
