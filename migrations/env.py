"""How Alembic reaches the database: it waits until there is one, and only one migration runs at a time."""

import logging
import time
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import TypeDecorator

from src.kit import production
from src.kit.database.engine import Base, get_engine
from src.kit.log import configure_logging
from src.sales import models as _sales_models  # noqa: F401  (a feature's models, for autogenerate)

logger = logging.getLogger("src.migrations")

WAIT_SECONDS = 60
LOCK = 7_251_963


def connect() -> Connection:
    """A connection, as soon as the database gives one.

    Raises:
        OperationalError: it did not within a minute.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return get_engine().connect()
        except OperationalError as error:
            if time.monotonic() > deadline:
                raise
            logger.info("Waiting for the database: %s", str(error.orig).strip().splitlines()[0])
            time.sleep(1)


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write a type of ours as what it is in the database: a migration must not change with our code."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


def run() -> None:
    """Apply the migrations that `alembic` asks for, in one transaction."""
    with connect() as connection:
        on_postgres = connection.dialect.name == "postgresql"
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=not on_postgres,
            compare_type=True,
            render_item=render_item,
        )
        with context.begin_transaction():
            if on_postgres:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
            context.run_migrations()


configure_logging(production.checked_settings(), role="migrate")
logging.getLogger("alembic").setLevel(logging.INFO)
run()
