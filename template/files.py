"""The files of a work tree, as text."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path


def tracked(tree: Path) -> Iterator[tuple[Path, str]]:
    """The text files that git would commit, with their content; binary files are left out."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=tree, capture_output=True, check=True).stdout.decode().split("\0")
    for path in sorted({tree / name for name in names if name}):
        if path.is_symlink() or not path.is_file():
            continue
        try:
            yield path, path.read_bytes().decode()
        except UnicodeDecodeError:
            continue


def write(path: Path, text: str) -> None:
    """Write a text file with the line endings that the text has."""
    if not path.exists() or path.read_bytes() != text.encode():
        path.write_bytes(text.encode())


def edit(path: Path, change: Callable[[str], str]) -> bool:
    """Write what a function makes of the file's text; return whether that differs."""
    before = path.read_text("utf-8")
    after = change(before)
    write(path, after)
    return after != before
