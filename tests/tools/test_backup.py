"""Backups on a timer and their check: the scripts of the containers, on a Postgres of this machine."""

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from tests.conftest import wait_until
from tests.kit.compose_files import PROD, content_of
from tests.kit.postgres_server import find_postgres
from tests.kit.processes import start
from tools import backup
from tools.console import ToolError

SERVICE = content_of(PROD)["services"]["backup"]
COMMAND: list[str] = [part.replace("$$", "$") for part in SERVICE["command"]]


@pytest.fixture(scope="module")
def environment(postgres_server: str, postgres_template: str) -> Iterator[dict[str, str]]:
    """What Postgres' own programs need to work as `app` on a migrated database with one more table."""
    binaries = find_postgres()
    if not binaries:
        pytest.skip("no programs of Postgres on this machine")
    url = make_url(postgres_server)
    environment = os.environ | {"PGHOST": str(url.host), "PGPORT": str(url.port)}
    environment["PATH"] = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    run(
        environment,
        "createuser -U postgres app && createdb -U postgres -O app app\n"
        f"pg_dump -U postgres --no-owner {postgres_template} | psql -q -U app -d app\n"
        "psql -q -U app -c 'CREATE TABLE kept AS SELECT generate_series(1, 123) AS number'\n"
        "psql -q -U postgres -d app -c 'CREATE EXTENSION pg_stat_statements'",  # only a superuser can
    )
    yield environment | {"PGUSER": "app", "PGDATABASE": "app"}
    run(environment, "dropdb -U postgres --force app && dropuser -U postgres app")


def run(environment: dict[str, str], script: str, content: bytes = b"") -> bytes:
    """What a script prints; it has to succeed."""
    done = subprocess.run(["bash", "-c", script], env=environment, input=content, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


class Timer:
    """The process of the service `backup`, its folder and its log."""

    def __init__(self, folder: Path, environment: dict[str, str], **variables: str) -> None:
        self.folder, self.log = folder / "files", folder / "log"
        self.folder.mkdir(exist_ok=True)
        (folder / "postgres_password").write_text("secret")
        own = {backup._TIMED: str(self.folder), "/run/secrets": str(folder)}
        command = COMMAND
        for name, value in own.items():
            command = [part.replace(name, value) for part in command]
        environment = environment | {"BACKUP_KEEP": "7"} | variables
        self.process = start(command, self.log, env=environment)

    def logged(self, pattern: str) -> list[str]:
        return re.findall(pattern, self.log.read_text(), re.MULTILINE)

    def stop(self) -> None:
        for process in (*psutil.Process(self.process.pid).children(), self.process):
            process.kill()
        self.process.wait()


def test_a_file_is_written_each_time_and_the_newest_ones_are_kept(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    timer = Timer(tmp_path, environment, BACKUP_EVERY="1s", BACKUP_KEEP="2")
    (timer.folder / "half.dump.part").touch()
    try:
        removed = wait_until(lambda: timer.logged(r"^(.*dump): removed"), what="a file to be removed")
    finally:
        timer.stop()
    written = timer.logged(r"^(.*dump): \d+ bytes\.$")
    files = {path.name for path in timer.folder.glob("*.dump")}
    assert removed == written[: len(removed)], "the oldest ones"
    assert files >= {*written[-2:]}
    assert not files & {*removed}
    assert not (timer.folder / "half.dump.part").exists()
    assert stat.S_IMODE((timer.folder / written[-1]).stat().st_mode) == 0o600


def test_after_a_restart_it_waits_until_the_newest_file_is_old(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "2026-01-31T12-00-00Z.dump").touch()
    timer = Timer(tmp_path, environment, BACKUP_EVERY="1d")

    def sleeps() -> list[str]:
        children = psutil.Process(timer.process.pid).children()
        return [child.cmdline()[1] for child in children if child.name() == "sleep"]

    try:
        (seconds,) = wait_until(sleeps, what="its sleep")
        assert timer.log.read_text() == ""
    finally:
        timer.stop()
    assert 86_000 < int(seconds) <= 86_400


def test_a_backup_that_fails_is_not_kept(tmp_path: Path, environment: dict[str, str]) -> None:
    timer = Timer(tmp_path, environment, BACKUP_EVERY="1s", PGDATABASE="nowhere")
    try:
        wait_until(lambda: timer.logged("was not written; the lines above say why"), what="the failure")
    finally:
        timer.stop()
    assert list(timer.folder.glob("*.dump")) == []


@pytest.mark.parametrize(
    ("every", "keep", "sentence"),
    [
        ("daily", "7", "BACKUP_EVERY=daily is not a number with s, m, h or d"),
        ("0h", "7", "BACKUP_EVERY=0h is not"),
        ("h", "7", "BACKUP_EVERY=h is not"),
        ("1h", "0", "BACKUP_KEEP=0 is not a number of files"),
        ("1h", "all", "BACKUP_KEEP=all is not"),
    ],
)
def test_what_is_not_a_time_or_a_number_is_refused(
    tmp_path: Path, environment: dict[str, str], every: str, keep: str, sentence: str
) -> None:
    timer = Timer(tmp_path, environment, BACKUP_EVERY=every, BACKUP_KEEP=keep)
    assert timer.process.wait(30) == 2
    (line,) = timer.log.read_text().splitlines()
    assert line.startswith(sentence)


def test_the_check_reads_the_same_times() -> None:
    assert backup._duration("36h") == backup._duration("2160m") == timedelta(days=1.5)
    for wrong in ("daily", "0h", "h", "1.5h"):
        with pytest.raises(ToolError, match=f"BACKUP_EVERY={wrong} is not"):
            backup._duration(wrong)


def test_the_check_counts_the_rows_of_a_backup_and_leaves_nothing_behind(
    environment: dict[str, str],
) -> None:
    dump = run(environment, "pg_dump --format custom")
    counted = run(environment, backup._FUNCTIONS + backup._CHECK, dump).decode().splitlines()
    assert {"kept: 123", "alembic_version: 1"} <= {*counted}
    with pytest.raises(AssertionError):
        run(environment, backup._FUNCTIONS + backup._CHECK, dump[: len(dump) // 2])
    assert b"backup_check" not in run(environment, "psql -Atl")


@pytest.mark.parametrize("right", ["NOSUPERUSER", "SUPERUSER"])
def test_restoring_needs_no_superuser_and_leaves_what_only_that_can_make(
    environment: dict[str, str], right: str
) -> None:
    """In the volume of an earlier version, `app` is the superuser."""
    dump = run(environment, backup._DUMP)
    run(environment, f"psql -q -U postgres -c 'ALTER ROLE app {right}' -c 'DELETE FROM kept'")
    with pytest.raises(AssertionError):
        run(environment, backup._FUNCTIONS + backup._RESTORE, dump[: len(dump) // 2])
    assert run(environment, "psql -Atc 'SELECT count(*) FROM kept'").strip() == b"0"
    run(environment, backup._FUNCTIONS + backup._RESTORE, dump)
    assert run(environment, "psql -Atc 'SELECT count(*) FROM kept'").strip() == b"123"
    assert b"pg_stat_statements" in run(environment, "psql -Atc 'SELECT extname FROM pg_extension'")
    run(environment, "psql -q -U postgres -c 'ALTER ROLE app NOSUPERUSER'")
