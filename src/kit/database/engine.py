"""Engine and sessions of the database: Postgres in the stack, SQLite where there is no Docker."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Engine, MetaData, create_engine, event
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from src.kit import limits
from src.kit.settings import get_settings

ROOT = Path(__file__).resolve().parents[3]


class Base(DeclarativeBase):
    """Base of every model; the naming convention lets Alembic name constraints alike on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time, always aware and in UTC; SQLite keeps no time zone of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@lru_cache
def get_engine() -> Engine:
    """The engine of this process for `DATABASE_URL`, made at first use."""
    url = make_url(get_settings().database_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url.database)
    return _postgres_engine(url)


def _postgres_engine(url: URL) -> Engine:
    from src.kit.database.postgres import Connection  # here, since SQLite does without

    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_timeout=limits.DATABASE_POOL,
        hide_parameters=True,  # an error's text goes into logs: it names the statement, but not the rows
        connect_args={
            "connect_timeout": limits.DATABASE_CONNECT,
            # A server that is gone without a word, such as one that lost its power.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        return Connection.connect(*arguments, **options)

    return engine


def _sqlite_engine(database: str | None) -> Engine:
    path = ROOT / (database or "data/app.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # Readers go on while the one writer writes; deleting an import deletes its rows.
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine


def forget_connections() -> None:
    """Let go of the parent's database connections after a fork, without closing them for the parent."""
    get_engine().dispose(close=False)


def begin_job() -> None:
    """Prepare a forked process for its job: connections of its own, and all of the job's time for answers."""
    forget_connections()
    if get_engine().dialect.name == "postgresql":
        from src.kit.database.postgres import Connection

        Connection.answer_timeout = None


def is_away(error: BaseException) -> bool:
    """Whether this error says that the database is or was away, rather than that a statement was wrong."""
    return isinstance(error, OperationalError | InterfaceError) and (
        error.connection_invalidated or error.statement is None
    )


@contextmanager
def transaction() -> Iterator[Session]:
    """A session in one transaction: committed at the end, rolled back when the block raises."""
    with Session(get_engine(), expire_on_commit=False) as session, session.begin():
        yield session
