"""Imports point one way: main → features → what features share → settings."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
FEATURES = sorted(p.name for p in SRC.iterdir() if (p / "routes.py").exists() or (p / "jobs.py").exists())
ABOVE_FEATURES = {"main"}


def modules_of(path: Path) -> set[str]:
    """The parts of `src` that a module imports: `src.sales.models` counts as `sales`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(SRC.parent).parts[: -node.level] if node.level else ()
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("src.")}
    return found


@pytest.mark.parametrize("path", sorted((SRC / "reload").rglob("*.py")), ids=lambda path: path.name)
def test_reload_imports_nothing_else_of_src(path: Path) -> None:
    assert modules_of(path) <= {"reload"}


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_imports_no_other_feature(feature: str) -> None:
    for path in (SRC / feature).rglob("*.py"):
        assert not modules_of(path) & ({*FEATURES} - {feature} | ABOVE_FEATURES), path


def test_what_features_share_imports_no_feature() -> None:
    for path in SRC.glob("*.py"):
        if path.stem not in ABOVE_FEATURES:
            assert not modules_of(path) & {*FEATURES, *ABOVE_FEATURES}, path


def test_settings_import_nothing_of_src() -> None:
    assert modules_of(SRC / "settings.py") == set()
