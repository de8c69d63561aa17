"""Takes the example out of a work tree, where a small feature has been put beside it."""

import re
import shutil
from pathlib import Path

from template import locks, migrations
from template.files import edit, tracked, write
from tools.console import ToolError

FEATURE = "sales"
REPLACEMENT = "notes"

PACKAGES = {
    "hypothesis": r"\bhypothesis\b",
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

_MENTION = rf"(?i:{FEATURE}(?![ -]dashboard)|retail)"
_LINES = rf"(?m)^.*{_MENTION}.*\n"
_ROWS = rf"(?m)^(?:\||- ).*{_MENTION}.*\n"
_PARAGRAPHS = rf"(?m)^(?:.+\n)*.*{_MENTION}.*\n(?:.+\n)*\n?"

LEAVING = {
    ".env.example": _PARAGRAPHS,
    "docker-compose*.yml": _LINES,
    "*.md": _ROWS,
    "docs/*.md": _ROWS,
    "src/**/*.md": _ROWS,
    "src/settings.py": _LINES,
    "tests/*.toml": _PARAGRAPHS,
}
"""What is deleted from which files: in Markdown, the rows of tables and the items of lists."""


def take_out(tree: Path, service: Path) -> None:
    """Delete the example: its folders, its migration, and the lines about it everywhere else.

    Args:
        tree: the work tree, into which the files of the small feature have been copied.
        service: these files, laid out as in the work tree.

    Raises:
        ToolError: something of yours imports the example, or a file does not look as expected.
    """
    if not (tree / "src" / FEATURE).is_dir():
        raise ToolError(f"There is no src/{FEATURE} to replace: EXAMPLE=keep changes everything else.")
    for folder in ("src", "tests"):
        shutil.rmtree(tree / folder / FEATURE, ignore_errors=True)
    (migration,) = (service / "migrations" / "versions").glob("*.py")
    versions = tree / "migrations" / "versions"
    migrations.replace(versions, FEATURE, versions / migration.name)
    modules = "|".join(path.stem for path in (service / "src" / REPLACEMENT).glob("*.py"))
    main = tree / "src" / "main.py"
    for path in (main, tree / "migrations" / "env.py"):
        edit(path, lambda text: _with_replacement(text, modules))
    if f"src.{REPLACEMENT}" not in main.read_text("utf-8"):
        raise ToolError(
            f"src/main.py does not import the routes of src/{FEATURE}, where `make new` puts those of "
            f"src/{REPLACEMENT}: nothing was changed."
        )
    edit(main, _with_root_page)
    layer = rf'"([^"]*)\b{FEATURE}\b([^"]*)",'
    edit(tree / "pyproject.toml", lambda text: re.sub(layer, rf'"\1{REPLACEMENT}\2",', text))
    for pattern, leaving in LEAVING.items():
        for path in tree.glob(pattern):
            write(path, re.sub(leaving, "", path.read_text("utf-8")))
    edit(tree / "src" / "settings.py", _without_unused_imports)
    _require_no_import(tree)


def mentions(tree: Path) -> list[str]:
    """The files that still mention the example, such as your own text about it."""
    return [path.relative_to(tree).as_posix() for path, text in tracked(tree) if re.search(_MENTION, text)]


def take_out_packages(tree: Path, project: str) -> None:
    """Take the example's packages out of pyproject.toml and the lock files, unless something needs them."""
    code = "\n".join(text for path, text in tracked(tree) if path.suffix == ".py")
    unneeded = [name for name, sign in PACKAGES.items() if not re.search(sign, code)]
    pyproject = tree / "pyproject.toml"
    text = pyproject.read_text("utf-8")
    for name in unneeded:
        text = re.sub(rf'(?m)^    "{name}\b[^"-]*",.*\n|"{name}\.\*", ', "", text)
    write(pyproject, text)
    for lock in (
        "requirements.txt",
        "requirements-tracing.txt",
        "requirements-debug.txt",
        "requirements-dev.txt",
    ):
        edit(tree / lock, lambda text: locks.without(text, unneeded, project))


def _with_replacement(text: str, modules: str) -> str:
    """Python that includes the new feature's modules instead of the example's; others, its page, leave."""
    text = re.sub(rf"(?m)^.*\b(?:src\.{FEATURE} import |{FEATURE}_)(?!(?:{modules})\b)\w+.*\n", "", text)
    text = re.sub(rf"\b{FEATURE}(?=_|\b)(?![ -][Dd]ashboard)", REPLACEMENT, text)
    # ruff wants the one-line imports from `src` in order, and is not there to sort them.
    block = re.search(r"(?m)(^from src\..* import [^(\n]*\n)+", text)
    if not block:
        return text
    lines = sorted(block[0].splitlines(keepends=True), key=lambda line: line.split(" import "))
    return text.replace(block[0], "".join(lines))


def _with_root_page(text: str) -> str:
    """`main.py` with its own description, and with an answer at `/`."""
    text = re.sub(
        r'(?m)^    description=".*",$', '    description="Notes, and how many words they have.",', text
    )
    if '"/"' in text:
        return text
    imported = "from fastapi.responses import RedirectResponse\n\n"
    return re.sub(r"(?m)^(?=from src\.)", imported, text, count=1).rstrip("\n") + "\n" + ROOT_PAGE


def _without_unused_imports(text: str) -> str:
    """`settings.py` without the imports that only the example's settings needed."""
    if "Field(" not in text:
        text = text.replace("from pydantic import Field\n\n", "")
    if ": Duration" not in text:
        text = text.replace("import Duration, KitSettings", "import KitSettings")
    return re.sub(r"\n{4,}", "\n\n\n", text)


def _require_no_import(tree: Path) -> None:
    pattern = re.compile(rf"(?m)^\s*(from|import) (src|tests)\.{FEATURE}\b")
    for path, text in tracked(tree):
        if path.suffix == ".py" and pattern.search(text):
            raise ToolError(
                f"{path.relative_to(tree)} imports the example, which leaves: change that and commit, or use "
                "EXAMPLE=keep. Nothing was changed."
            )
