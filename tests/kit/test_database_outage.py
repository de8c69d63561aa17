"""A Postgres that is down or silent is noticed soon, and is not confused with a wrong statement."""

import signal
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from alembic.util import CommandError
from rq.timeouts import JobTimeoutException, UnixSignalDeathPenalty
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError, StatementError

from src.kit.database import engine as database
from src.kit.database import migrations
from src.kit.database.postgres import Connection
from src.kit.queue.job import timeout_in
from tests.kit.services import settings_read_again

pytestmark = pytest.mark.slow  # fault drills on Postgres


@pytest.fixture
def postgres(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application's database is Postgres, and it must answer within half a second."""
    monkeypatch.setattr(Connection, "answer_timeout", 0.5)
    with settings_read_again(DATABASE_URL=postgres_server):
        yield postgres_server


def run(statement: str) -> Any:
    with database.transaction() as session:
        return session.scalar(text(statement))


def test_a_silent_server_is_given_up(postgres: str) -> None:
    backend = run("SELECT pg_backend_pid()")
    if not psutil.pid_exists(backend):
        pytest.skip("TEST_POSTGRES_URL is not on this machine: its processes can't be stopped")
    server = psutil.Process(backend).parent()
    assert server
    silent = [server, psutil.Process(backend)]
    for process in silent:
        process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(OperationalError) as failure:
            run("SELECT 1")
    finally:
        for process in silent:
            process.send_signal(signal.SIGCONT)
    assert database.is_away(failure.value)
    assert run("SELECT 1") == 1


def test_a_statement_that_takes_too_long_closes_its_connection(postgres: str) -> None:
    with pytest.raises(OperationalError) as failure:
        run("SELECT pg_sleep(20)")
    assert database.is_away(failure.value)
    assert run("SELECT 1") == 1


def test_a_job_may_take_its_time(postgres: str) -> None:
    assert run("SELECT 1") == 1
    database.begin_job()
    assert run("SELECT 'slow' FROM pg_sleep(1)") == "slow"


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT pg_sleep(20)"])
def test_a_jobs_timeout_is_not_an_outage_and_leaves_the_database_usable(
    postgres: str, statement: str
) -> None:
    database.begin_job()

    def job() -> None:
        with UnixSignalDeathPenalty(1, JobTimeoutException):  # type: ignore[no-untyped-call]
            while True:
                run(statement)

    with pytest.raises((JobTimeoutException, StatementError)) as failure:
        job()
    assert timeout_in(failure.value)
    assert not database.is_away(failure.value)
    assert run("SELECT 1") == 1


def test_a_connection_that_breaks_is_an_outage(postgres: str) -> None:
    other = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with database.transaction() as session, other.connect() as control:
        backend = session.scalar(text("SELECT pg_backend_pid()"))
        control.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})
        with pytest.raises(OperationalError) as failure:
            session.scalar(text("SELECT 1"))
        session.rollback()
    other.dispose()
    assert database.is_away(failure.value)


def test_a_server_that_is_not_there_is_an_outage(postgres: str) -> None:
    nowhere = "postgresql+psycopg://app@127.0.0.1:1/app"
    with settings_read_again(DATABASE_URL=nowhere), pytest.raises(OperationalError) as failure:
        run("SELECT 1")
    assert database.is_away(failure.value)


def test_a_migration_says_why_it_gave_up_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "WAIT_SECONDS", 0)
    nowhere = "postgresql+psycopg://app@127.0.0.1:1/app"
    with settings_read_again(DATABASE_URL=nowhere), pytest.raises(CommandError) as failure:
        migrations._connect()
    assert "Connection refused" in str(failure.value)
    assert "DATABASE_URL" in str(failure.value)


@pytest.mark.parametrize("statement", ["SELECT * FROM nowhere", "SELECT 1 +", "SELECT 1 / 0"])
def test_a_wrong_statement_is_not_an_outage(postgres: str, statement: str) -> None:
    with pytest.raises(Exception) as failure:  # noqa: PT011  several
        run(statement)
    assert not database.is_away(failure.value)


def test_a_statement_that_the_server_cancels_is_not_an_outage(postgres: str) -> None:
    with database.transaction() as session:
        session.execute(text("SET LOCAL statement_timeout = '50ms'"))
        with pytest.raises(OperationalError) as failure:
            session.execute(text("SELECT pg_sleep(0.4)"))
    assert not database.is_away(failure.value)
