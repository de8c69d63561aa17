"""What only the template needs, and what refers to it."""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from template.files import edit, tracked, write
from tools.console import ToolError

PATHS = (
    ".ci", ".github/workflows", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "README.md", "bench",
    "docs/BENCHMARKS.md", "docs/COPYING.md", "docs/DEPLOYMENT.md", "docs/OBSERVABILITY.md", "docs/*.png",
    "docs/*.svg", "docs/UPDATING.md", "template", "tests/template", "tests/reload/random_*.py",
    "tests/reload/state.py", "tests/reload/test_random.py",
)  # fmt: skip
COMMANDS = "bench|new"
FOLDERS = "bench|template"


def leaving(root: Path) -> list[str]:
    """The paths that leave this work tree, as far as they are there."""
    return sorted(path.relative_to(root).as_posix() for pattern in PATHS for path in root.glob(pattern))


def take_out_references(tree: Path) -> None:
    """Take out the commands of the template, and what is said about its files.

    Raises:
        ToolError: a file does not look as expected.
    """
    changes = {
        "Makefile": _without_targets, "tools/stack.py": _without_commands, "pyproject.toml": _without_folders
    }  # fmt: skip
    for name, change in changes.items():
        if not edit(tree / name, change):
            raise ToolError(f"{name} does not look as `make new` expects it; nothing was changed.")
    for path, text in tracked(tree):
        if path.suffix == ".md":
            lines = text.splitlines(keepends=True)
            write(path, "".join(line for line in lines if not _leads_nowhere(path, line)))


def remove_bytecode(root: Path) -> None:
    """Remove the folders of which git has left nothing but bytecode."""
    for top in ("src", "tests", "bench", "template"):
        for cache in sorted((root / top).glob("**/__pycache__"), reverse=True):
            if not any(cache.parent.glob("*.py")):
                shutil.rmtree(cache)
                with suppress(OSError):  # a folder that holds something else stays
                    os.removedirs(cache.parent)


def put_data_aside(data: Path) -> list[str]:
    """Move what the example has stored natively out of the way; return what to tell about it."""
    content = [path for path in data.glob("*") if path.name not in (".gitkeep", "before-new")]
    if not content:
        return []
    aside = data / "before-new"
    aside.mkdir(exist_ok=True)
    for path in content:
        path.replace(aside / path.name)
    return ["the database of the example is in data/before-new now; delete it if you do not need it."]


def _without_targets(text: str) -> str:
    """The Makefile without the commands, and without the variables that only they have."""
    text = re.sub(rf"(?m)^({COMMANDS}): .*\n", "", text)
    return re.sub(r", (QUICK|PART|EXAMPLE|YES)=\w+", "", text)


def _without_commands(text: str) -> str:
    """`tools/stack.py` without the functions of the commands and their entries."""
    text = re.sub(rf"(?ms)^def ({COMMANDS})\(.*?\n\n\n", "", text)
    text = re.sub(rf' ?"({COMMANDS})": (\w+|partial\([^)]*\)),', "", text)
    return re.sub(r"(?m)^ {3,4}\n", "", text)


def _without_folders(text: str) -> str:
    """`pyproject.toml` without the folders in its lists, and without the lines that are about them."""
    text = re.sub(rf'"({FOLDERS})", |, "({FOLDERS})"(?=[,\]])', "", text)
    return re.sub(rf'(?m)^("({FOLDERS})/|exclude = .*\^\(?({FOLDERS})/).*\n', "", text)


def _leads_nowhere(path: Path, line: str) -> bool:
    """Whether a line of a page leads to what has left."""
    if line.startswith("|") and re.search(rf"`(make ({COMMANDS})\b|({FOLDERS})/)", line):
        return True
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", line)
    return any("://" not in target and not (path.parent / target).exists() for target in targets)
