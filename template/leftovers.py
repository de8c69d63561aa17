"""What only the template needs, and what refers to it."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

from template.files import tracked, write
from tools.console import ToolError

PATHS = (
    ".ci", ".github/workflows", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "README.md", "bench",
    "docs/BENCHMARKS.md", "docs/DEPLOYMENT.md", "docs/OBSERVABILITY.md", "docs/*.png", "docs/*.svg",
    "template", "tests/template",
)  # fmt: skip
COMMANDS = ("bench", "new")
FOLDERS = ("bench", "template")


def leaving(root: Path) -> list[str]:
    """The paths that leave this work tree, as far as they are there."""
    found = {path.relative_to(root).as_posix() for pattern in PATHS for path in root.glob(pattern)}
    return sorted(found)


def take_out_references(tree: Path) -> None:
    """Take out the commands of the template, and what is said about its files.

    Raises:
        ToolError: a file does not look as expected.
    """
    _edit(tree / "Makefile", _without_targets)
    _edit(tree / "tools" / "stack.py", _without_commands)
    _edit(tree / "pyproject.toml", _without_folders)
    for path, text in tracked(tree):
        if path.suffix == ".md":
            write(path, _without_mentions(path, text))


def remove_bytecode(root: Path) -> None:
    """Remove the folders of which git has left nothing but bytecode."""
    for top in ("src", "tests", "bench", "template"):
        for folder in sorted((root / top).glob("**/__pycache__"), reverse=True):
            if not any(folder.parent.glob("*.py")):
                for file in folder.iterdir():
                    file.unlink()
                folder.rmdir()
                _remove_empty(folder.parent, root)


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


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


def _edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text("utf-8")
    after = change(before)
    if after == before:
        raise ToolError(f"{path.name} does not look as `make new` expects it; nothing was changed.")
    write(path, after)


def _without_targets(text: str) -> str:
    """The Makefile without the commands, whether a target has its own line or is one of a list."""
    for command in COMMANDS:
        text = re.sub(rf"(?m)^{command}:.*\n(\t.*\n)*", "", text)
        text = "".join(_without_word(line, command) for line in text.splitlines(keepends=True))
    return re.sub(r", (QUICK|PART)=\w+", "", text)


def _without_word(line: str, word: str) -> str:
    """A line without the word, if it is one that lists targets."""
    return re.sub(rf" {word}(?=[ :\n])", "", line) if re.match(r"\.PHONY:|dev prod ", line) else line


def _without_commands(text: str) -> str:
    """`tools/stack.py` without the functions of the commands and their entries."""
    lines = text.splitlines(keepends=True)
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    for node in reversed(functions):
        if node.name in COMMANDS:
            del lines[node.lineno - 1 : node.end_lineno]
            while lines[node.lineno - 1] == "\n":
                del lines[node.lineno - 1]
    text = "".join(lines)
    for command in COMMANDS:
        text = re.sub(rf' ?"{command}": (\w+|partial\([^)]*\)),', "", text)
    return re.sub(r"(?m)^ {3,4}\n", "", text)


def _without_folders(text: str) -> str:
    """`pyproject.toml` without the folders in its lists, and without the lines that are about them."""
    for folder in FOLDERS:
        text = re.sub(rf'"{folder}", |, "{folder}"(?=[,\]])', "", text)
        text = re.sub(rf'(?m)^("{folder}/|exclude = .*\^\(?{folder}/).*\n', "", text)
    return text


def _without_mentions(path: Path, text: str) -> str:
    """A page without the lines that lead to what has left."""
    kept = [line for line in text.splitlines(keepends=True) if not _leads_nowhere(path, line)]
    return "".join(kept)


def _leads_nowhere(path: Path, line: str) -> bool:
    if line.startswith("|") and re.search(rf"`(make ({'|'.join(COMMANDS)})\b|({'|'.join(FOLDERS)})/)", line):
        return True
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", line)
    return any("://" not in target and not (path.parent / target).exists() for target in targets)
