"""Postgres behind a PgBouncer in transaction mode, and the number of a process's connections."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from src.kit import limits
from src.kit.database.engine import get_engine, transaction
from src.kit.readiness import readiness_problems
from tests.kit.pgbouncer import running_pgbouncer
from tests.kit.services import create_postgres_database, migrate, settings_read_again

TRANSACTIONS = 40
"""In each thread: psycopg would prepare a statement that it has seen five times."""


@pytest.fixture
def pgbouncer(postgres_server: str) -> Iterator[None]:
    """A new database, reached through a PgBouncer with three sessions for all clients."""
    with running_pgbouncer(postgres_server, 3) as server:
        name = create_postgres_database(postgres_server).rpartition("/")[2]
        with settings_read_again(DATABASE_URL=f"{server.rpartition('/')[0]}/{name}"):
            yield


def test_migrations_and_concurrent_transactions_work_through_pgbouncer(pgbouncer: None) -> None:
    migrate(dict(os.environ))
    assert [problem for problem in readiness_problems() if "database" in problem] == []

    def work(thread: int) -> set[int]:
        sessions = set()
        for number in range(TRANSACTIONS):
            with transaction() as session:
                mine = {"thread": thread, "number": number}
                row = session.execute(text("SELECT pg_backend_pid(), :thread + 0, :number + 0"), mine).one()
                assert tuple(row[1:]) == (thread, number)
                sessions.add(row[0])
        return sessions

    with ThreadPoolExecutor(8) as threads:
        sessions = list(threads.map(work, range(8)))
    assert max(map(len, sessions)) > 1, "a connection has seen more than one session"
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM alembic_version"))


def test_the_number_of_connections_is_a_setting(
    postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DATABASE_POOL", 0.1)
    with (
        settings_read_again(DATABASE_URL=postgres_server, DATABASE_POOL_SIZE="2"),
        get_engine().connect(),
        get_engine().connect(),
        pytest.raises(PoolTimeoutError),
    ):
        get_engine().connect()
