"""In development, the API applies a new migration before its code takes over; a failed one changes nothing.

One API for each kind of database, on which the tests build in any order.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import create_engine, inspect, text

from tests.conftest import ROOT, empty_database, wait_until
from tests.kit.production_process import RELOADING
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
        with self._output.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment | variables, stdout=output, stderr=output
            )
        try:
            self.wait_for("at work after")
            yield
        finally:
            process.terminate()
            process.wait(30)

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
        scratch = self.path(name).with_suffix(".tmp")
        scratch.write_text(content)
        scratch.replace(self.path(name))

    def alembic(self, *arguments: str) -> str:
        """Run an Alembic command, which has to succeed; returns its output."""
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments], cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: str
) -> Iterator[Development]:
    folder = tmp_path_factory.mktemp(request.param)
    development = Development(folder, empty_database(request.param, request, folder), redis_server)
    with development.running_api():
        yield development


@pytest.fixture
def api(shared: Development) -> Development:
    """The API, with an empty log."""
    shared.forget_log()
    return shared


@pytest.fixture
def alone(tmp_path: Path, redis_url: str, request: pytest.FixtureRequest) -> Development:
    """A copy on SQLite for one test, on which nothing runs yet."""
    return Development(tmp_path, empty_database("sqlite", request, tmp_path), redis_url)


def test_a_saved_migration_is_applied_before_the_new_code_takes_over(api: Development) -> None:
    api.save("saved", CREATE.format("saved"))
    output = api.wait_for_hand_over()
    assert api.applied() == "saved"
    assert "saved" in api.tables()
    assert output.index("Running upgrade") < output.index("at work after")
    assert "ERROR" not in output


def test_a_failed_migration_changes_nothing_and_saving_the_fixed_one_applies_it(api: Development) -> None:
    before = api.applied(), api.tables()
    api.save("failed", CREATE.format("failed"), 'op.execute("INSERT INTO nowhere VALUES (1)")')
    output = api.wait_for(f"{BROKEN}failed.py:12: ")
    assert (api.applied(), api.tables()) == before
    assert "nowhere" in output
    assert "fix the file and save it" in output
    assert api.is_ready(), "the old code goes on serving"
    api.save("failed", CREATE.format("failed"))
    output = api.wait_for_hand_over()
    assert api.applied() == "failed"
    assert output.count("Code can't be loaded") == 1
    assert "Traceback" not in output


def test_a_migration_is_applied_once_however_many_want_to(api: Development) -> None:
    insert = "op.execute('INSERT INTO once VALUES (1)')"
    api.save("once", "import time", CREATE.format("once"), insert, "time.sleep(1)")
    api.wait_for("Running upgrade")
    assert "Running upgrade" not in api.alembic("upgrade", "head"), "it waits, and sees it applied"
    assert "ERROR" not in api.wait_for_hand_over()


def test_an_edit_of_an_applied_migration_is_reported_once_and_its_formatting_is_not(api: Development) -> None:
    before = api.applied()
    api.save("edited", CREATE.format("edited"))
    api.wait_for_hand_over()
    api.save("edited", CREATE.format("edited").replace('"', "'") + "  # a remark", down=before)
    assert EDITED not in api.wait_for_hand_over(2)
    api.save("edited", CREATE.format("other"), down=before)
    output = api.wait_for_hand_over(3)
    assert f"migrations/versions/edited.py {EDITED}, and is not applied again" in output
    assert "make db-reset" in output
    assert "other" not in api.tables()
    api.path("edited").write_text(api.path("edited").read_text() + "# more\n")
    assert api.wait_for_hand_over(4).count(EDITED) == 2
    (api.folder / "src" / "added.py").write_text("")
    assert api.wait_for_hand_over(5).count(EDITED) == 2


def test_a_migration_is_applied_only_when_all_of_it_is_written(api: Development) -> None:
    content = MIGRATION.format(revision="half", down=api.applied(), body=CREATE.format("half") + "\n    pass")
    with api.path("half").open("w") as file:
        for line in content.splitlines(keepends=True):
            file.write(line)
            file.flush()
            time.sleep(0.02)  # a slow disk
    api.wait_for_hand_over()
    assert api.applied() == "half"
    assert EDITED not in api.log
    assert api.is_ready()


def test_alembic_writes_a_migration_for_a_model_that_is_saved_before_it(alone: Development) -> None:
    alone.alembic("revision", "--autogenerate", "-m", "parents")
    alone.alembic("upgrade", "head")
    before = alone.applied()
    with alone.running_api():
        alone.models.write_text(MODELS.replace("String(9))", "String(9))\n    remark: Mapped[str | None]"))
        alone.wait_for_hand_over(2)
        assert alone.is_ready()
        alone.alembic("revision", "--autogenerate", "-m", "add a remark")
        assert "ERROR" not in alone.wait_for_hand_over(3)
        assert alone.applied() != before
        assert "remark" in {column["name"] for column in inspect(alone.engine).get_columns("parents")}


def test_a_reset_drops_everything_and_migrates_while_the_api_runs(api: Development) -> None:
    applied = api.applied()
    with api.engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_over (id INTEGER)"))
        connection.execute(text("CREATE VIEW shown AS SELECT * FROM left_over"))
    assert "Running upgrade" in api.alembic("-x", "reset", "upgrade", "head")
    assert "left_over" not in api.tables()
    assert api.applied() == applied
    assert api.is_ready()


@pytest.mark.slow  # it waits until the database is given up
def test_a_reset_does_not_wait_forever_for_somebody_who_reads(api: Development) -> None:
    if api.engine.dialect.name == "sqlite":
        pytest.skip("readers of SQLite do not wait for writers, nor the other way round")
    before = api.tables()
    with api.engine.connect() as connection:
        connection.execute(text("SELECT * FROM alembic_version"))
        with pytest.raises(AssertionError, match="The database is in use: end `make shell`"):
            api.alembic("-x", "reset", "upgrade", "head")
    assert api.tables() == before


def test_changing_a_table_on_sqlite_keeps_the_rows_that_refer_to_it(alone: Development) -> None:
    alone.alembic("revision", "--autogenerate", "-m", "parents")
    alone.alembic("upgrade", "head")
    with alone.engine.begin() as connection:
        connection.execute(text("INSERT INTO parents VALUES (1, 'a name')"))
        connection.execute(text("INSERT INTO children VALUES (1, 1)"))
    batch = "with op.batch_alter_table('parents') as batch:"
    alone.save("changed", batch, "    batch.alter_column('name', type_=sa.String(20))")
    alone.alembic("upgrade", "head")
    with alone.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM children")) == 1
    alone.save("orphans", 'op.execute("DELETE FROM parents")')
    with pytest.raises(AssertionError, match="A row of children would refer to a row of parents"):
        alone.alembic("upgrade", "head")
    assert alone.applied() == "changed"


def test_a_worker_waits_for_a_migration_unless_it_is_taken_back(alone: Development) -> None:
    with alone.running(sys.executable, "-m", "src.rq_worker", RQ_WORKER_AUTORELOAD="true"):
        alone.save("wanted", CREATE.format("wanted"))
        (alone.folder / "src" / "added.py").write_text("")
        alone.wait_for("Waiting before the first job: The database is not at the newest migration")
        assert alone.applied() != "wanted", "only the API applies it, so that only one reports an error"
        alone.path("wanted").unlink()
        alone.wait_for_hand_over(2)


def test_it_can_be_turned_off(alone: Development) -> None:
    with alone.running_api(MIGRATE_ON_RELOAD="false"):
        alone.save("unwanted", CREATE.format("unwanted"))
        alone.wait_for_hand_over(2)
        assert alone.applied() != "unwanted"
        assert not alone.is_ready()
