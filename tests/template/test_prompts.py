"""`make db-reset`, `shell`, `psql` and `redis-cli` without Docker, with a terminal and without."""

import os
import pty
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.conftest import wait_until
from tests.kit.repository import copy_repository, share_environment
from tests.template.running import ENVIRONMENT, Running

PASSWORD = "of-a-test-only"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Running]:
    """A copy of the repository with a migrated database; nothing runs."""
    folder = tmp_path_factory.mktemp("prompts") / "a copy"
    copy_repository(folder)
    share_environment(folder)
    (folder / "data").mkdir()
    shutil.copy(sqlite_template, folder / "data" / "app.db")
    running = Running(folder, "native")
    yield running
    running.stop()


def piped(copy: Running, target: str, text: str, **variables: str) -> str:
    """What `make target` prints to standard output when a pipe ends after this text."""
    done = subprocess.run(
        ["make", "-s", target], cwd=copy.folder, env=ENVIRONMENT | copy.environment | variables,
        input=text, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def tables(copy: Running) -> set[str]:
    with closing(sqlite3.connect(copy.folder / "data" / "app.db")) as database:
        return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def execute(copy: Running, statement: str) -> None:
    with closing(sqlite3.connect(copy.folder / "data" / "app.db")) as database, database:
        database.execute(statement)


def test_psql_is_sqlite_without_docker(copy: Running) -> None:
    assert piped(copy, "psql", "", ARGS="-c 'select 40 + 2'") == "42\n"
    assert piped(copy, "psql", "select 6 * 7") == "42\n"


def test_the_shell_has_a_session_the_models_and_the_settings(copy: Running) -> None:
    code = "print(settings.environment, session.scalar(select(42)))"
    assert piped(copy, "shell", "", ARGS=f'-c "{code}"') == "development 42\n"
    assert piped(copy, "shell", code) == "development 42\n"


def test_the_shell_completes_names_in_a_terminal(copy: Running) -> None:
    ours, theirs = pty.openpty()
    environment = ENVIRONMENT | copy.environment | {"TERM": "dumb", "PYTHON_BASIC_REPL": "1"}
    process = subprocess.Popen(
        ["make", "shell"], cwd=copy.folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = ""

    def read_until(text: str) -> None:
        nonlocal seen
        while text not in seen:
            seen += os.read(ours, 4096).decode()

    read_until(">>> ")
    os.write(ours, b"sessi\t.scalar(select(42))\n")
    read_until("\n42")
    os.write(ours, b"exit()\n")
    assert process.wait(30) == 0
    os.close(ours)


def test_redis_cli_gets_the_password_but_not_on_its_command_line(copy: Running, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.acl_setuser("cli", enabled=True, reset=True, passwords=f"+{PASSWORD}", commands=["+@all"])
    url = redis_url.replace("redis://", f"redis://cli:{PASSWORD}@")
    assert piped(copy, "redis-cli", "", REDIS_URL=url, ARGS="acl whoami") == "cli\n"
    process = subprocess.Popen(
        ["make", "-s", "redis-cli"], cwd=copy.folder, env=ENVIRONMENT | copy.environment | {"REDIS_URL": url},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    seen: list[list[str]] = []

    def look() -> bool:
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):  # it has ended
                seen.append(child.cmdline())
        return any(line[:1] == ["redis-cli"] for line in seen)

    wait_until(look, 30, "redis-cli")
    assert PASSWORD not in str(seen)
    assert process.communicate("acl whoami\n")[0] == "cli\n"


def test_without_a_redis_redis_cli_says_how_to_get_one(copy: Running) -> None:
    output = copy.make_refused("redis-cli")
    assert "start it with `make dev`" in output
    assert "Traceback" not in output


def test_db_reset_drops_everything_and_migrates_without_a_question(copy: Running) -> None:
    before = tables(copy)
    execute(copy, "CREATE TABLE left_over (id INTEGER)")
    execute(copy, "INSERT INTO left_over VALUES (1)")
    output = copy.make("db-reset")
    assert "All data of the development database is gone" in output
    assert tables(copy) == before


def test_db_reset_refuses_production_in_one_sentence(copy: Running) -> None:
    execute(copy, "CREATE TABLE precious (id INTEGER)")
    output = copy.make_refused("db-reset", ENVIRONMENT="production")
    assert re.search(r"^This is production: `make db-reset` is for .*\.\nmake: ", output, re.MULTILINE)
    assert "precious" in tables(copy)


def test_db_reset_refuses_a_database_that_only_production_has_used(copy: Running) -> None:
    execute(copy, "ALTER TABLE alembic_applied RENAME TO away")
    assert "This database is one of production" in copy.make_refused("db-reset")
    execute(copy, "ALTER TABLE away RENAME TO alembic_applied")


def test_arguments_that_cannot_be_read_are_refused_in_one_sentence(copy: Running) -> None:
    output = copy.make_refused("psql", ARGS="-c 'select 1")
    assert "ARGS can't be read (No closing quotation)" in output
    assert "Traceback" not in output


def test_a_db_reset_whose_migrations_fail_changes_nothing(copy: Running) -> None:
    execute(copy, "CREATE TABLE kept (id INTEGER)")
    before = tables(copy)
    broken = copy.folder / "migrations" / "versions" / "broken.py"
    with closing(sqlite3.connect(copy.folder / "data" / "app.db")) as database:
        (head,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
    broken.write_text(
        f'revision = "broken"\ndown_revision = "{head}"\n\n\ndef upgrade():\n    raise ValueError\n'
    )
    try:
        copy.make_refused("db-reset")
    finally:
        broken.unlink()
    assert tables(copy) == before


@pytest.mark.slow
def test_while_make_dev_runs_db_reset_empties_it_and_redis_cli_finds_its_redis(copy: Running) -> None:
    copy.start("dev", "Ready.")
    execute(copy, "CREATE TABLE left_over (id INTEGER)")
    copy.make("db-reset")
    assert "left_over" not in tables(copy)
    assert copy.get("/health/ready") == {"status": "ok"}
    assert copy.get("/api/v1/sales/imports") is not None
    assert "rq:workers" in piped(copy, "redis-cli", "keys rq:workers\n")
    counted = "from src.kit.redis import get_redis; print(get_redis().scard('rq:workers'))"
    assert piped(copy, "shell", counted) == "1\n"
    copy.interrupt()
