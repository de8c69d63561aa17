"""Without the example's migrations, the others still form one chain, in their order."""

from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from template import migrations

FIRST, A, B, C, D = (f"{digit}123456789ab" for digit in range(5))
REPLACEMENT = "2026_11_24_notes.py"


@pytest.mark.parametrize(
    ("chain", "left"),
    [
        ({"sales": (A, None), "orders": (B, A), "more": (C, B)}, [C, B, FIRST]),
        ({"sales": (A, None), "sales_tax": (B, A), "orders": (C, B)}, [C, FIRST]),
        ({"sales": (A, None), "orders": (B, A), "sales_tax": (C, B), "more": (D, C)}, [D, B, FIRST]),
        ({"a_newer_sales": (B, A), "sales": (A, None), "orders": (C, B)}, [C, FIRST]),
        ({"sales": (A, None), "orders": (B, None)}, [B, FIRST]),
        ({"orders": (A, None)}, [A, FIRST]),
    ],
)
def test_one_chain_is_left(tmp_path: Path, chain: dict[str, tuple[str, str | None]], left: list[str]) -> None:
    versions = tmp_path / "versions"
    versions.mkdir()
    for name, (revision, down) in {REPLACEMENT.removesuffix(".py"): (FIRST, None), **chain}.items():
        head = f'"""A table.\n\nRevises: {down or ""}\n"""\n\n'
        (versions / f"{name}.py").write_text(f"{head}revision = {revision!r}\ndown_revision = {down!r}\n")
    migrations.replace(versions, "sales", versions / REPLACEMENT)
    script = ScriptDirectory(str(tmp_path))
    assert [each.revision for each in script.walk_revisions()] == left
    for each in script.walk_revisions():
        assert each.doc == "A table."
        assert f"Revises: {each.down_revision or ''}\n" in Path(each.path).read_text()
