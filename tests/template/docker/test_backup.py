"""`make backup` and `make restore` on Compose: one stack, on which the tests build in this order."""

import stat
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.template.docker import sales
from tests.template.docker.running import Running

FIRST, FIGURES = sales.generated(3_000, seed=1)
MORE, _ = sales.generated(700, seed=2)
UNFINISHED, _ = sales.generated(500, seed=3)


@pytest.fixture(scope="module")
def production(clone: Running) -> Running:
    """The production stack, with one file imported."""
    clone.make("prod", seconds=300)
    assert clone.import_file(FIRST)["status"] == "finished"
    return clone


@pytest.fixture(scope="module")
def dump(production: Running) -> Path:
    """A backup of it."""
    output = production.make("backup")
    (file,) = (production.folder / "backups").iterdir()
    assert f"backups/{file.name}: {file.stat().st_size:,} bytes" in output
    return file


def figures(running: Running) -> dict[str, tuple[Decimal, int, int]]:
    groups = running.get("/api/v1/sales/summary?group_by=country")["groups"]
    return {group["key"]: (Decimal(group["revenue"]), group["orders"], group["units"]) for group in groups}


def expected() -> dict[str, tuple[Decimal, int, int]]:
    return {key: (each.revenue, len(each.invoices), each.units) for key, each in FIGURES.items()}


def test_only_the_user_can_read_a_backup(dump: Path) -> None:
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    assert stat.S_IMODE(dump.parent.stat().st_mode) == 0o700


def test_restoring_brings_back_what_was_there_and_nothing_else(production: Running, dump: Path) -> None:
    assert production.import_file(MORE)["status"] == "finished"
    assert figures(production) != expected()
    production.make("restore", FILE=f"backups/{dump.name}")
    assert figures(production) == expected()
    production.wait_for_code(production.code(), workers=3)


def test_a_backup_that_ends_too_early_changes_nothing(production: Running, dump: Path) -> None:
    half = dump.with_name("half")
    half.write_bytes(dump.read_bytes()[:-2000])
    assert production.import_file(MORE)["status"] == "finished"
    before = figures(production)
    output = production.make("restore", fails=True, FILE="backups/half")
    assert "was not restored, the data is what it was before" in output
    assert figures(production) == before


def test_what_is_no_backup_is_refused_before_anything_stops(production: Running) -> None:
    before = [container["Id"] for container in production.containers("rqworker")]
    for file, sentence in (
        ("", "Which backup? make restore FILE=backups/"),
        ("nowhere.dump", "There is no file nowhere.dump"),
        ("README.md", "README.md is not a backup of this application"),
    ):
        output = production.make("restore", fails=True, FILE=file)
        assert sentence in output
        assert "Traceback" not in output
    assert [container["Id"] for container in production.containers("rqworker")] == before


def test_a_backup_that_fails_leaves_no_half_file(production: Running) -> None:
    def psql(sql: str, *options: str) -> str:
        command = ("exec", "-T", *options, "postgres", "psql", "-U", "app", "-d", "app", "-Atc", sql)
        return production.compose(*command, form="prod").strip()

    before = set((production.folder / "backups").iterdir())
    psql("LOCK TABLE sales_lines; SELECT pg_sleep(600)", "--detach")
    production.start("backup")
    assert production.foreground
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
    )
    try:
        wait_until(lambda: psql(waiting), 30, "the backup to wait for the lock")
        psql(f"SELECT pg_terminate_backend(pid) FROM ({waiting})")
        assert production.foreground.wait(30) != 0
    finally:
        psql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()"
        )
        production.foreground = None
    assert "The backup was not written" in production.output()
    assert set((production.folder / "backups").iterdir()) == before


def test_an_unfinished_import_goes_on_in_a_new_stack(production: Running) -> None:
    production.compose("stop", "rqworker", form="prod")
    accepted = production.upload(UNFINISHED).json()
    production.make("backup")
    dump = max((production.folder / "backups").glob("*.dump"))
    production.compose("down", "--volumes", form="prod")
    assert "No healthy Postgres" in production.make("backup", fails=True)

    production.make("prod", seconds=300)
    production.make("restore", FILE=f"backups/{dump.name}")

    def finished() -> bool:
        found = production.get(f"/api/v1/sales/imports/{accepted['id']}")
        return bool(found and found["status"] == "finished")

    wait_until(finished, 90, "the import that was unfinished in the backup")
    assert production.upload(FIRST).status_code == 200, "it is there already"
