"""In development, the API applies a new migration before its code takes over; a failed one changes nothing.

One API for each kind of database, on which the tests build in any order.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from tests.conftest import empty_database
from tests.kit.migrated_copy import BROKEN, CREATE, EDITED, MIGRATION, MODELS, Development

pytestmark = pytest.mark.slow


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
