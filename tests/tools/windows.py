"""A machine with Windows, as far as Linux can pretend to be one: see windows_site/sitecustomize.py."""

import shutil
import sys
from pathlib import Path

TOOLS = (sys.executable, "-m", "tools")


def windows(folder: Path, *programs: str) -> dict[str, str]:
    """The variables of a process on Windows, with these programs and no other.

    Args:
        folder: new; it becomes the PATH.
    """
    folder.mkdir()
    for name in programs:
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
            (folder / f"{name}.EXE").symlink_to(found)  # what shutil.which() looks for
    return {
        "PATH": str(folder),
        "PATHEXT": ".EXE",
        "PYTHONPATH": str(Path(__file__).with_name("windows_site")),
    }
