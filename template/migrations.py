"""Migrations without those of the example."""

import re
from pathlib import Path

from template.files import write
from tools.console import ToolError


def replace(versions: Path, example: str, replacement: Path) -> None:
    """Delete the example's migrations; what was based on one is based on what that one was based on.

    Args:
        versions: the folder of the migrations.
        example: what the names of the example's files contain.
        replacement: the migration in this folder on which all others are based in the end.

    Raises:
        ToolError: one of the example's does not say what it is based on, or has several such migrations.
    """
    first, _ = _ids(replacement)
    parents = {}
    for path in versions.glob(f"*{example}*.py"):
        revision, down = _ids(path)
        parents[revision] = down or first
        path.unlink()
    for path in versions.glob("*.py"):
        if path == replacement:
            continue
        text = path.read_text("utf-8")
        for _ in parents:  # as often as the example's may follow one another
            for gone, parent in parents.items():
                text = re.sub(rf"(?m)^((?:down_revision|Revises)\b.*)\b{gone}\b", rf"\g<1>{parent}", text)
        text, roots = re.subn(r"(?m)^(down_revision\b[^=\n]*= )None$", rf'\g<1>"{first}"', text)
        write(path, re.sub(r"(?m)^Revises:.*$", f"Revises: {first}", text) if roots else text)


def _ids(path: Path) -> tuple[str, str | None]:
    """A migration's id, and that of the one it is based on."""
    found = dict(
        re.findall(r"""(?m)^(revision|down_revision)\b[^=\n]*= ["']?(\w+)""", path.read_text("utf-8"))
    )
    try:
        return found["revision"], None if found["down_revision"] == "None" else found["down_revision"]
    except KeyError:
        raise ToolError(
            f"migrations/versions/{path.name} needs a revision and one down_revision: "
            "change that and commit. Nothing was changed."
        ) from None
