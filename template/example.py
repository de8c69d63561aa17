"""Takes the example out of a work tree, and puts a small feature in its place."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from template import locks, migrations
from template.files import tracked, write
from tools.console import ToolError

FEATURE = "sales"
REPLACEMENT = "notes"

PACKAGES = {
    "hypothesis": r"\bhypothesis\b",
    "jinja2": r"jinja2|Jinja2",
    "playwright": r"\bplaywright\b",
    "pygal": r"\bpygal\b",
    "python-multipart": r"\b(UploadFile|Form|File)\(|\bUploadFile\b|\.form\(",
    "pyyaml": r"\bimport yaml\b",
    "sse-starlette": r"\bsse_starlette\b",
}
"""Packages that may be the example's alone, and what in a Python file shows that one is needed."""

ROOT_PAGE = '''

@app.get("/", include_in_schema=False)
def index() -> RedirectResponse:
    """Send visitors of the root to the API's documentation."""
    return RedirectResponse("/docs")
'''

_MENTION = re.compile(rf"{FEATURE}(?![ -]dashboard)|retail", re.IGNORECASE)


def take_out(tree: Path, service: Path) -> None:
    """Replace the example: its folders, its migration, and the lines about it everywhere else.

    Args:
        tree: the work tree.
        service: the files of the small feature, laid out as in the work tree.

    Raises:
        ToolError: something of yours imports the example, or a file does not look as expected.
    """
    if not (tree / "src" / FEATURE).is_dir():
        raise ToolError(f"There is no src/{FEATURE} to replace: EXAMPLE=keep changes everything else.")
    for folder in ("src", "tests"):
        shutil.rmtree(tree / folder / FEATURE, ignore_errors=True)
    versions = tree / "migrations" / "versions"
    migrations.replace(versions, lambda path: FEATURE in path.name, service / "migrations" / "versions")
    shutil.copytree(service, tree, dirs_exist_ok=True)
    modules = {path.stem for path in (service / "src" / REPLACEMENT).glob("*.py")}
    for path in (tree / "src" / "main.py", tree / "migrations" / "env.py"):
        write(path, _with_replacement(path.read_text("utf-8"), modules))
    if f"src.{REPLACEMENT}" not in (tree / "src" / "main.py").read_text("utf-8"):
        raise ToolError(
            f"src/main.py does not import the routes of src/{FEATURE}, where `make new` puts those of "
            f"src/{REPLACEMENT}: nothing was changed."
        )
    _edit(tree / "src" / "main.py", _with_root_page)
    _edit(tree / "src" / "settings.py", _without_settings)
    _edit(
        tree / "pyproject.toml",
        lambda text: re.sub(rf'"([^"]*)\b{FEATURE}\b([^"]*)",', rf'"\1{REPLACEMENT}\2",', text),
    )
    _edit(tree / ".env.example", _without_paragraphs)
    for path in tree.glob("docker-compose*.yml"):
        _edit(path, _without_lines)
    for path in [*tree.glob("*.md"), *tree.glob("docs/*.md"), *tree.glob("src/**/*.md")]:
        _edit(path, _without_rows)
    _require_no_import(tree)


def mentions(tree: Path) -> list[str]:
    """The files that still mention the example, such as your own text about it."""
    found = [path.relative_to(tree).as_posix() for path, text in tracked(tree) if _MENTION.search(text)]
    return [path for path in found if not path.startswith("template/")]


def take_out_packages(tree: Path, project: str) -> None:
    """Take the example's packages out of pyproject.toml and both lock files, unless something needs them."""
    code = "\n".join(text for path, text in tracked(tree) if path.suffix == ".py")
    unneeded = [name for name, sign in PACKAGES.items() if not re.search(sign, code)]
    pyproject = tree / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    for name in unneeded:
        text = re.sub(rf'(?m)^    "{name}\b[^"-]*",.*\n', "", text)
        text = re.sub(rf'"{name}\.\*", ', "", text)
    write(pyproject, text)
    for lock in ("requirements.txt", "requirements-dev.txt"):
        path = tree / lock
        write(path, locks.without(path.read_text("utf-8"), unneeded, project))


def _edit(path: Path, change: Callable[[str], str]) -> None:
    write(path, change(path.read_text("utf-8")))


def _with_replacement(text: str, modules: set[str]) -> str:
    """Python that includes the new feature's modules instead of the example's."""
    for module, name in re.findall(rf"(?m)^from src\.{FEATURE} import (\w+)(?: as (\w+))?", text):
        if module not in modules:
            text = re.sub(rf"(?m)^from src\.{FEATURE} import {module}\b.*\n", "", text)
            text = re.sub(rf"\n?[ ]*\b{name or module}\.\w+,", "", text)
    text = re.sub(rf"\b(_?){FEATURE}(?=_|\b)(?![ -][Dd]ashboard)", rf"\1{REPLACEMENT}", text)
    return _with_sorted_imports(text)


def _with_sorted_imports(text: str) -> str:
    """The one-line imports from `src` in the order that ruff wants."""
    block = re.search(r"(?m)(^from src\..* import [^(\n]*\n)+", text)
    if not block:
        return text
    lines = sorted(block[0].splitlines(keepends=True), key=lambda line: line.split(" import "))
    return text[: block.start()] + "".join(lines) + text[block.end() :]


def _with_root_page(text: str) -> str:
    """`main.py` with its own description, and with an answer at `/`."""
    text = re.sub(
        r'(?m)^    description=".*",$', '    description="Notes, and how many words they have.",', text
    )
    anchor = re.search(r"(?m)^from src\.", text)
    if not anchor or '"/"' in text:
        return text
    head = (
        text[: anchor.start()] + "from fastapi.responses import RedirectResponse\n\n" + text[anchor.start() :]
    )
    return head.rstrip("\n") + "\n" + ROOT_PAGE


def _without_settings(text: str) -> str:
    """Settings without the fields of the example, and without imports that nothing uses then."""
    lines = text.splitlines(keepends=True)
    for node in reversed([node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.AnnAssign)]):
        if _MENTION.search(ast.unparse(node.target)):
            del lines[node.lineno - 1 : node.end_lineno]
    text = "".join(lines)
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    for line in re.findall(r"(?m)^from \S+ import \w+$", text):
        if line.split()[-1] not in used:
            text = re.sub(rf"(?m)^{re.escape(line)}\n\n?", "", text)
    return re.sub(r"\n{4,}", "\n\n\n", text)


def _without_paragraphs(text: str) -> str:
    kept = [part for part in text.split("\n\n") if not _MENTION.search(part)]
    return "\n\n".join(kept).rstrip("\n") + "\n"


def _without_lines(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not _MENTION.search(line))


def _without_rows(text: str) -> str:
    """Markdown without the rows of tables and the items of lists that mention the example."""
    return "".join(
        line
        for line in text.splitlines(keepends=True)
        if not (line.startswith(("|", "- ")) and _MENTION.search(line))
    )


def _require_no_import(tree: Path) -> None:
    pattern = re.compile(rf"(?m)^\s*(from|import) (src|tests)\.{FEATURE}\b")
    for path, text in tracked(tree):
        if path.suffix == ".py" and pattern.search(text):
            raise ToolError(
                f"{path.relative_to(tree)} imports the example, which leaves: change that and commit, or use "
                "EXAMPLE=keep. Nothing was changed."
            )
