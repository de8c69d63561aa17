"""`make migration` writes files that pass `make check`, and never mentions a feature that was taken out."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MODELS = """
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from src.kit.database.engine import Base, UtcDateTime


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200), index=True, unique=True)
    placed_at: Mapped[UtcDateTime] = mapped_column(UtcDateTime)
    replaces: Mapped[int | None] = mapped_column(ForeignKey("orders.id", ondelete="SET NULL"))
"""


class Clone:
    """A copy of the repository with one feature, no migration yet, and an SQLite database."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self.versions = tree / "migrations" / "versions"
        self.database = tree / "data" / "app.db"
        for name in ("src/kit", "src/reload", "migrations", "tools"):
            shutil.copytree(
                ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "versions")
            )
        for name in ("src/settings.py", "pyproject.toml", ".env.example", "requirements-dev.txt"):
            shutil.copy(ROOT / name, tree / name)
        (tree / ".venv").symlink_to(ROOT / ".venv")
        self.versions.mkdir()
        (tree / "src" / "orders").mkdir()
        self.save(MODELS)
        env = tree / "migrations" / "env.py"
        imports = "from src.kit.database.migrations import run_migrations\nfrom src.orders import models"
        env.write_text(f"{imports}  # noqa: F401\n\nrun_migrations()\n")

    def save(self, models: str) -> None:
        """Write the feature's models."""
        (self.tree / "src" / "orders" / "models.py").write_text(models)

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a Python module in the clone."""
        kept = {"PATH": str(Path(sys.executable).parent) + ":/usr/bin:/bin", "RUNTIME": "native"}
        return subprocess.run(
            [sys.executable, "-m", *command], cwd=self.tree, env=kept | environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip

    def make_migration(self, name: str) -> str:
        """`make migration NAME=…`; returns what it wrote."""
        before = set(self.versions.glob("*.py"))
        done = self.run("tools.stack", "migration", NAME=name)
        assert done.returncode == 0, done.stdout
        (written,) = set(self.versions.glob("*.py")) - before
        for check in (("format", "--check"), ("check",)):
            checked = self.run("ruff", *check, "migrations")
            assert checked.returncode == 0, f"{checked.stdout}\n{written.read_text()}"
        return written.read_text()

    def upgrade(self) -> str:
        """`make migrate`; returns its output."""
        return self.run("tools.stack", "migrate").stdout


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    if not (ROOT / ".venv").exists():
        pytest.skip("no .venv beside the code: `make check` creates it")
    return Clone(tmp_path / "clone")


def test_new_migrations_pass_the_checks_and_apply(clone: Clone) -> None:
    first = clone.make_migration(
        'add "orders", where C:\\data and a name that is longer than any line may be, ' * 2
    )
    assert "sa.DateTime(timezone=True)" in first
    clone.save(MODELS + "    note: Mapped[str | None] = mapped_column(String(9))\n")
    assert "batch_alter_table" in clone.make_migration("add a note")
    assert clone.make_migration("move data by hand").count("pass") == 2
    clone.upgrade()
    with sqlite3.connect(clone.database) as database:
        assert "note" in {row[1] for row in database.execute("PRAGMA table_info(orders)")}


@pytest.mark.slow  # three migrations, each with its checks
def test_a_migration_leaves_tables_alone_that_no_migration_made(clone: Clone) -> None:
    clone.make_migration("orders")
    clone.upgrade()
    with sqlite3.connect(clone.database) as database:
        database.execute("CREATE TABLE example (id INTEGER PRIMARY KEY)")
        database.execute("CREATE INDEX ix_example ON example (id)")
    clone.save(MODELS + "    note: Mapped[str | None] = mapped_column(String(9))\n")
    assert "example" not in clone.make_migration("add a note")
    clone.save("")
    assert 'drop_table("orders")' in clone.make_migration("no more orders")


@pytest.mark.slow  # it makes a migration first
def test_a_database_of_other_code_is_refused_with_a_way_out(clone: Clone) -> None:
    clone.make_migration("orders")
    clone.upgrade()
    for script in clone.versions.glob("*.py"):
        script.unlink()
    output = clone.upgrade()
    assert "belongs to another version of the code" in output
    assert "Traceback" not in output
