"""Migrations that stood on the example's, on a chain without it."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tools.console import ToolError


class Migration(NamedTuple):
    """A migration's file, its id, and the ids of those before it."""

    path: Path
    revision: str
    down: tuple[str, ...]


def replace(versions: Path, is_example: Callable[[Path], bool], replacement: Path) -> None:
    """Delete the example's migrations, put one in their place, and chain all others behind it.

    Args:
        versions: the folder of the migrations.
        is_example: whether a file is one of the example's.
        replacement: the folder with the migration to put there.

    Raises:
        ToolError: a migration does not say what it is based on.
    """
    found = [_read(path) for path in sorted(versions.glob("*.py"))]
    gone = {each.revision for each in found if is_example(each.path)}
    for each in found:
        if each.revision in gone:
            each.path.unlink()
    kept = [each for each in found if each.revision not in gone]
    (first,) = (_read(path) for path in replacement.glob("*.py"))
    shutil.copy2(first.path, versions)
    tip = first.revision
    for each in kept:
        if not set(each.down) - gone:
            _base_on(each, tip)
            tip = _last_after(each.revision, kept)


def _read(path: Path) -> Migration:
    values = {}
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name) and target.id in ("revision", "down_revision"):
                    values[target.id] = ast.literal_eval(node.value)
    if "revision" not in values or "down_revision" not in values:
        raise ToolError(
            f"migrations/versions/{path.name} has no revision and down_revision; nothing was changed."
        )
    down = values["down_revision"] or ()
    return Migration(path, values["revision"], (down,) if isinstance(down, str) else tuple(down))


def _base_on(migration: Migration, down: str) -> None:
    text = migration.path.read_text("utf-8")
    text = re.sub(r"(?m)^(down_revision\b[^=]*= ).*$", rf'\g<1>"{down}"', text)
    text = re.sub(r"(?m)^Revises:.*$", f"Revises: {down}", text, count=1)
    migration.path.write_text(text, "utf-8")


def _last_after(revision: str, migrations: list[Migration]) -> str:
    """The end of the chain that begins with a revision."""
    while following := [each.revision for each in migrations if revision in each.down]:
        revision = following[0]
    return revision
