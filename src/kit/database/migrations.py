"""How Alembic reaches the database: it waits for it, and only one process migrates at a time."""

import logging
import time
from pathlib import Path
from typing import Any, Literal

from alembic import context
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import TypeDecorator

from src.kit import production
from src.kit.database.engine import Base, get_engine
from src.kit.log import configure_logging

logger = logging.getLogger("src.migrations")

WAIT_SECONDS = 60
LOCK = 7_251_963


def run_migrations() -> None:
    """Run what the `alembic` command asks for, in one transaction; call it at the end of `env.py`.

    Raises:
        SystemExit: the settings are wrong, or not fit for production.
        sqlalchemy.exc.OperationalError: the database was not there within a minute.
        alembic.util.CommandError: the database has a migration that this code doesn't know.
    """
    configure_logging(production.checked_settings(), role="migrate")
    logging.getLogger("alembic").setLevel(logging.INFO)
    with _connect() as connection:
        on_postgres = connection.dialect.name == "postgresql"
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=not on_postgres,
            compare_type=True,
            render_item=_render_item,
            include_name=_is_compared,
        )
        with context.begin_transaction():
            if on_postgres:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            try:
                context.run_migrations()
            except CommandError as error:
                if not isinstance(error.__cause__, ResolutionError):
                    raise
                raise CommandError(
                    f"The database is at migration {error.__cause__.argument}, which is not in "
                    "migrations/versions: it belongs to another version of the code. Use that version, or in "
                    "development start with an empty database."
                ) from error


def _connect() -> Connection:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return get_engine().connect()
        except OperationalError as error:
            if time.monotonic() > deadline:
                raise
            logger.info("Waiting for the database: %s", str(error.orig).strip().splitlines()[0])
            time.sleep(1)


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
