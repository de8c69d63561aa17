"""How Alembic reaches the database: it waits for it, and only one process migrates at a time."""

import logging
import time
from pathlib import Path
from typing import Any, Literal

from alembic import context
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import TypeDecorator

from src.kit import production
from src.kit.database.engine import Base, get_engine
from src.kit.database.revisions import note
from src.kit.log import configure_logging

logger = logging.getLogger("src.migrations")

WAIT_SECONDS = 60
LOCK = 7_251_963


def run_migrations() -> None:
    """Run what Alembic was asked for, in one transaction; call it at the end of `env.py`.

    `alembic -x reset upgrade head` drops everything first, in the same transaction: `make db-reset`.

    Raises:
        SystemExit: the settings are wrong, or not fit for production.
        alembic.util.CommandError: the database was not there within a minute, it has a migration that this
            code doesn't know, or the migrations leave rows that refer to none.
    """
    settings = production.checked_settings()
    if context.config.cmd_opts:  # it is a command of its own, and not the API on its way to new code
        configure_logging(settings, role="migrate")
        logging.getLogger("alembic").setLevel(logging.INFO)
    in_development = settings.environment == "development"
    is_reset = "reset" in context.get_x_argument()
    if is_reset and not in_development:
        raise CommandError("ENVIRONMENT is production: only a development database can be reset.")
    with _connect() as connection:
        on_postgres = connection.dialect.name == "postgresql"
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=not on_postgres,
            compare_type=True,
            render_item=_render_item,
            include_name=_is_compared,
            transactional_ddl=True,
            on_version_apply=_note_step if in_development else None,
        )
        with context.begin_transaction():
            if on_postgres:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            if is_reset:
                _drop_everything(connection)
            orphans = _orphans(connection)
            try:
                context.run_migrations()
            except CommandError as error:
                if not isinstance(error.__cause__, ResolutionError):
                    raise
                raise CommandError(
                    f"The database is at migration {error.__cause__.argument}, which is not in "
                    "migrations/versions: it belongs to another version of the code. Use that version, or in "
                    "development start with an empty database: make db-reset."
                ) from error
            for table, other in _orphans(connection) - orphans:
                raise CommandError(f"A row of {table} would refer to a row of {other} that is not there.")


def _note_step(ctx: Any, step: Any, *_: Any, **__: Any) -> None:
    for revision in step.up_revisions:
        note(ctx.connection, revision, is_applied=step.is_upgrade)


def _orphans(connection: Connection) -> set[tuple[str, str]]:
    """The tables with rows that refer to none, and to which table: SQLite checks that only when asked."""
    if connection.dialect.name == "postgresql":
        return set()
    return {(row[0], row[2]) for row in connection.execute(text("PRAGMA foreign_key_check")).all()}


def _drop_everything(connection: Connection) -> None:
    has_table = connection.dialect.has_table  # production makes no alembic_applied, and may share the volume
    if has_table(connection, "alembic_version") and not has_table(connection, "alembic_applied"):
        raise CommandError("This database is one of production. `make dev` makes it one of development.")
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        try:
            connection.execute(text("DROP SCHEMA public CASCADE"))
        except OperationalError as error:
            raise CommandError("The database is in use: end `make shell`, `make psql` and jobs.") from error
        connection.execute(text("CREATE SCHEMA public AUTHORIZATION pg_database_owner"))
    else:
        tables = "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'view')"
        for kind, name in connection.execute(text(f"{tables} AND name NOT LIKE 'sqlite_%'")).all():
            connection.execute(text(f'DROP {kind} "{name}"'))
    logger.info("Dropped everything in %s", connection.engine.url.render_as_string(hide_password=True))


def _connect() -> Connection:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection = get_engine().connect()
            break
        except OperationalError as error:
            reason = str(error.orig).strip().splitlines()[0]
            if time.monotonic() > deadline:
                raise CommandError(
                    f"No connection to the database for {WAIT_SECONDS} s: {reason}. Start it, or correct "
                    "DATABASE_URL and its password."
                ) from error
            logger.info("Waiting for the database: %s", reason)
            time.sleep(1)
    driver: Any = connection.connection.driver_connection
    connection.detach()  # from the pool, because of what follows
    if connection.dialect.name == "postgresql":
        driver.answer_timeout = None
        return connection
    # The driver would not undo a CREATE, and half of a failed migration would stay. IMMEDIATE: one process
    # at a time. Batch operations drop a table to change it, which must not delete what refers to its rows.
    driver.isolation_level = None
    driver.execute("PRAGMA foreign_keys = OFF")
    event.listen(connection, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    return connection


def _render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our own types as what they are in the database: a migration must not change with our code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def _is_compared(name: str | None, kind: str, _parents: Any) -> bool:
    """Whether `make migration` compares this with the models.

    A table that neither a model nor a migration names is left over from a feature whose migration is gone,
    such as the example. A migration that dropped it would fail on every database that never had it.
    """
    if kind != "table" or name in Base.metadata.tables:
        return True
    scripts = Path(context.script.versions).glob("*.py")
    return any(f'"{name}"' in script.read_text(encoding="utf-8") for script in scripts)
