"""The data of production on Docker: one stack, on which the tests build in this order."""

import shutil
import stat
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.template.docker import engine, sales
from tests.template.docker.engine import docker
from tests.template.running import Running

FIRST, FIGURES = sales.generated(3_000, seed=1)
MORE, _ = sales.generated(700, seed=2)
UNFINISHED, _ = sales.generated(500, seed=3)


@pytest.fixture(scope="module")
def dump(production: Running) -> Path:
    """A backup of the stack with one file imported."""
    ended = sales.import_file(production, FIRST)
    assert (ended["status"], ended["rows_total"], ended["rows_done"]) == ("finished", 3_000, 3_000)
    output = production.make("backup")
    (file,) = (production.folder / "backups").iterdir()
    assert f"backups/{file.name}: {file.stat().st_size:,} bytes" in output
    return file


def test_an_import_adds_up_and_is_not_repeated_and_only_the_user_can_read_its_backup(
    production: Running, dump: Path
) -> None:
    assert not sales.upload(production, FIRST, "again.csv")["is_new"]
    assert sales.shown(production) == FIGURES
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    assert stat.S_IMODE(dump.parent.stat().st_mode) == 0o700


def test_a_backup_that_ends_too_early_changes_nothing(production: Running, dump: Path) -> None:
    half = dump.with_name("half")
    half.write_bytes(dump.read_bytes()[:-2000])
    assert sales.import_file(production, MORE)["status"] == "finished"
    before = sales.shown(production)
    assert before != FIGURES
    output = production.make_refused("restore", FILE="backups/half")
    assert "was not restored, the data is what it was before" in output
    assert sales.shown(production) == before


def test_restoring_brings_back_what_was_there_and_nothing_else(production: Running, dump: Path) -> None:
    production.make("restore", FILE=f"backups/{dump.name}")
    assert sales.shown(production) == FIGURES
    production.wait_for_code(workers=3)


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("", "Which backup? `make restore FILE=backups/"),
        ("nowhere.dump", "There is no file nowhere.dump"),
        ("README.md", "README.md is not a backup of this application"),
    ],
)
def test_a_file_that_cannot_be_restored_is_refused_before_anything_stops(
    production: Running, file: str, sentence: str
) -> None:
    before = engine.ids(production)
    output = production.make_refused("restore", FILE=file)
    assert sentence in output
    assert "Traceback" not in output
    assert engine.ids(production) == before


def test_a_backup_that_fails_leaves_no_half_file(production: Running) -> None:
    before = set((production.folder / "backups").iterdir())
    psql = ("exec", "-T", "--detach", "postgres", "psql", "-U", "app", "-d", "app", "-c")
    production.compose(*psql, "LOCK TABLE sales_lines; SELECT pg_sleep(600)")
    production.start("backup")
    assert production.foreground
    activity = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND"
    waiting = f"SELECT pid {activity} application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    try:
        wait_until(lambda: engine.sql(production, waiting), 30, "the backup to wait for the lock")
        engine.sql(production, f"SELECT pg_terminate_backend(pid) FROM ({waiting})")
        assert production.foreground.wait(30) != 0
    finally:
        engine.sql(production, f"SELECT pg_terminate_backend(pid) {activity} query LIKE '%pg_sleep%'")
    assert "The backup was not written" in production.output()
    assert set((production.folder / "backups").iterdir()) == before


def test_an_unfinished_import_goes_on_in_a_new_stack(production: Running, dump: Path) -> None:
    production.compose("stop", "rqworker")
    accepted = sales.upload(production, UNFINISHED)
    production.make("backup")
    newest = max((production.folder / "backups").glob("*.dump"))
    production.compose("down", "--volumes")
    assert "No healthy Postgres" in production.make_refused("backup")
    production.make("prod")
    production.make("restore", FILE=f"backups/{newest.name}")
    assert sales.wait_for_end(production, accepted["id"])["status"] == "finished"
    assert not sales.upload(production, FIRST)["is_new"], "it is there already"


def test_the_real_sales_add_up(production: Running) -> None:
    content, by_country = sales.real()
    before = sales.shown(production)
    ended = sales.import_file(production, content)
    assert (ended["status"], ended["rows_done"], ended["rows_rejected"]) == ("finished", 10_000, 0)
    after = sales.shown(production)
    added = {key: after[key, "revenue"] - before[key, "revenue"] for key, _ in after}
    assert {key: Decimal(cents) / 100 for key, cents in added.items() if cents} == by_country


def test_the_data_outlives_the_containers_and_lost_secrets(production: Running) -> None:
    before = sales.shown(production)
    production.make("down")
    assert production.containers("postgres") == []
    password = production.folder / "secrets" / "postgres_password"
    old = password.read_text("ascii")
    shutil.rmtree(production.folder / "secrets")
    shutil.rmtree(production.folder / "data", ignore_errors=True)
    production.make("prod")
    assert password.read_text("ascii") != old
    assert sales.shown(production) == before
    production.wait_for_code(workers=3)


@pytest.mark.parametrize("right", ["t", "f"])
def test_a_volume_of_an_earlier_version_works_and_a_backup_moves_its_data_to_a_role_without_its_rights(
    production: Running, right: str
) -> None:
    before, volume = sales.shown(production), f"{production.project}_postgres"
    production.make("backup")
    newest = max((production.folder / "backups").glob("*.dump"))
    production.make("down")
    docker("volume", "rm", volume)
    if right == "t":  # the first start of an earlier version, which ends with a port that is none
        variables = ("-e", "POSTGRES_USER=app", "-e", "POSTGRES_DB=app", "-e", "POSTGRES_PASSWORD=older")
        options = ("--rm", "--network=none", "--user=postgres", "-v", f"{volume}:/var/lib/postgresql")
        docker("run", *options, *variables, "postgres:18-alpine", "postgres", "-p", "0", may_fail=True)
    production.make("prod")
    production.make("restore", FILE=f"backups/{newest.name}")
    production.make("backup-check")
    assert sales.shown(production) == before
    assert engine.sql(production, "SELECT rolsuper FROM pg_roles WHERE rolname = 'app'") == right
    log = production.compose("logs", "postgres")
    assert ("The role app is a superuser, as in earlier versions" in log) == (right == "t")
