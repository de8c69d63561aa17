"""Engine and sessions of the database: Postgres on Docker, SQLite without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Engine, MetaData, create_engine, event, text
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from src.kit import limits
from src.kit.settings import get_settings

ROOT = Path(__file__).resolve().parents[3]

DISK_FULL = "53100"
"""Postgres' code if it could not write a file."""


class Base(DeclarativeBase):
    """Base of every model; the naming convention gives constraints the same names on both databases."""

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
    """A time zone-aware datetime in UTC; SQLite itself stores no time zone."""

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
    """The engine of this process for `DATABASE_URL`, created at first use."""
    url = make_url(get_settings().database_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url.database)
    return _postgres_engine(url)


def _postgres_engine(url: URL) -> Engine:
    from src.kit.database.postgres import Connection  # here, because SQLite does not need it

    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_timeout=limits.DATABASE_POOL,
        hide_parameters=True,  # errors are logged: with the statement, but without the rows
        pool_size=limits.pool_size(get_settings()),
        max_overflow=0,
        connect_args={
            "connect_timeout": limits.DATABASE_CONNECT,
            # For a server that disappears without closing the connection, such as after a power failure.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        },
    )

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        connection = Connection.connect(*arguments, autocommit=True, **options)
        # PgBouncer makes up a process id, and each transaction may be in another session, where nothing is
        # prepared. Elsewhere, preparing saves about 0.1 ms per statement.
        if connection.execute("SELECT pg_backend_pid()").fetchone() != (connection.info.backend_pid,):
            connection.prepare_threshold = None
        connection.autocommit = False
        return connection

    return engine


def _sqlite_engine(database: str | None) -> Engine:
    path = ROOT / (database or "data/app.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    size = get_settings().database_pool_size or limits.POOL_SIZE
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60}, pool_size=size, max_overflow=0)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # Readers continue while the one writer writes; foreign keys cascade.
        for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}")

    return engine


def forget_connections() -> None:
    """Drop the parent's database connections after a fork, without closing them for the parent."""
    get_engine().dispose(close=False)


def begin_job() -> None:
    """Prepare a forked process for its job: its own connections, and no time limit for answers."""
    forget_connections()
    if get_engine().dialect.name == "postgresql":
        from src.kit.database.postgres import Connection

        Connection.answer_timeout = None


def is_away(error: BaseException | None) -> bool:
    """Whether this error means that the database is or was away, rather than a wrong statement."""
    return isinstance(error, OperationalError | InterfaceError) and (
        error.connection_invalidated or error.statement is None
    )


def is_full(error: BaseException) -> bool:
    """Whether this error means that there is no room on the disk of Postgres."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == DISK_FULL


def require_room() -> None:
    """Have Postgres write a temporary file of 1 MiB where the database is; no WAL is written.

    Raises:
        SQLAlchemyError: there is no room (`is_full`), or the database does not answer.
    """
    engine = get_engine()
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execute(text("SET LOCAL work_mem = '64kB'"))  # what exceeds it goes to the disk
            connection.execute(text("SELECT count(*) FROM unnest(array_fill(repeat('x', 8192), ARRAY[128]))"))


@contextmanager
def transaction() -> Iterator[Session]:
    """A session in one transaction: committed at the end, rolled back when the block raises."""
    with Session(get_engine(), expire_on_commit=False) as session, session.begin():
        yield session
