"""A copy of the code with a database of its own, into which migrations are saved."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
from sqlalchemy import create_engine, inspect, text

from tests.conftest import ROOT, wait_until
from tests.kit.processes import running
from tests.kit.production_process import RELOADING
from tests.kit.repository import replace
from tools.ports import free_port

MIGRATION = '''"""A migration of the test."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down!r}


def upgrade() -> None:
    {body}


def downgrade() -> None:
    pass
'''
CREATE = 'op.create_table("{}", sa.Column("id", sa.Integer(), primary_key=True))'
MODELS = """
from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column
from src.kit.database.engine import Base

class Parent(Base):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(9))

class Child(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id", ondelete="CASCADE"))
"""
BROKEN = "the last good code keeps working: migrations/versions/"
EDITED = "was edited after it was applied"


class Development:
    """A copy of the code with a migrated database, on which an API or a worker runs."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder, self.engine, self.port = folder / "copy", create_engine(database_url), free_port()
        for name in ("src", "migrations"):
            shutil.copytree(ROOT / name, self.folder / name)
        shutil.copy(ROOT / "pyproject.toml", self.folder)
        self.environment = os.environ | {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        (self.folder / "src" / "probe").mkdir()
        self.models = self.folder / "src" / "probe" / "models.py"
        self.models.write_text(MODELS)
        env = self.folder / "migrations" / "env.py"
        env.write_text(env.read_text().replace("\nrun_", "import src.probe.models\n\nrun_"))
        self._output = folder / "log"
        self._seen = 0

    @contextmanager
    def running(self, *command: str, **variables: str) -> Iterator[None]:
        """Run a process in the copy, from the moment that it works until the end of the block."""
        self._output.unlink(missing_ok=True)
        with running(command, self._output, cwd=self.folder, env=self.environment | variables):
            self.wait_for("at work after")
            yield

    def running_api(self, **variables: str) -> "AbstractContextManager[None]":
        command = [part.replace("PORT", str(self.port)) for part in RELOADING]
        return self.running(*command, "--reload-dir", "migrations", **variables)

    def forget_log(self) -> None:
        self._seen = len(self._output.read_text())

    @property
    def log(self) -> str:
        """What was logged since `forget_log`."""
        return self._output.read_text()[self._seen :]

    def wait_for(self, line: str, count: int = 1) -> str:
        """Wait until a text has been logged so many times; returns all that was logged."""
        wait_until(lambda: self.log.count(line) >= count, 60, f"{line!r} in {self._output}")
        return self.log

    def wait_for_hand_over(self, count: int = 1) -> str:
        return self.wait_for("at work after", count)

    def is_ready(self) -> bool:
        return httpx2.get(f"http://127.0.0.1:{self.port}/health/ready", timeout=20).status_code == 200

    def applied(self) -> str | None:
        """The revision that the database is at."""
        with self.engine.connect() as connection:
            found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
            return found

    def tables(self) -> set[str]:
        return set(inspect(self.engine).get_table_names())

    def path(self, name: str) -> Path:
        return self.folder / "migrations" / "versions" / f"{name}.py"

    def save(self, name: str, *body: str, down: str | None = None) -> None:
        """Save a migration with these statements in one step, by default after the one applied last."""
        content = MIGRATION.format(revision=name, down=down or self.applied(), body="\n    ".join(body))
        replace(self.path(name), content)

    def alembic(self, *arguments: str) -> str:
        """Run an Alembic command, which has to succeed; returns its output."""
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments], cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout
