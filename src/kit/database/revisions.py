"""Which migrations the database has; in development, new ones are applied before the next code runs."""

import ast
import hashlib
import logging
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, Row, text

from src.kit.database.engine import ROOT, get_engine, is_away
from src.kit.settings import get_settings

logger = logging.getLogger(__name__)

REST = 0.2
"""Seconds for which a new migration stays as it is: a save meanwhile replaces the process that waits."""


class MigrationError(Exception):
    """A migration that could not be applied, and changed nothing."""


@lru_cache
def known_revisions() -> tuple[dict[str, Script], frozenset[str]]:
    """All migrations in `migrations/versions` by their revision, and the newest revisions, usually one."""
    scripts = ScriptDirectory.from_config(_config())
    return {script.revision: script for script in scripts.walk_revisions()}, frozenset(scripts.get_heads())


def is_behind() -> bool:
    """Whether the database is not at the newest migration.

    Raises:
        SQLAlchemyError: the database does not answer.
    """
    with get_engine().connect() as connection:
        applied = {row.version_num for row in _rows(connection, "alembic_version")}
    known, newest = known_revisions()
    # A revision that this code does not know belongs to newer code: a rolling update is under way.
    return applied <= known.keys() and not newest <= applied


def apply_new_migrations() -> None:
    """In development, bring the database to the newest migration, unless MIGRATE_ON_RELOAD is off.

    Only the API calls this, so that an error is logged once; workers wait for the newest migration anyway. If
    the database is away, it changes nothing: `/health/ready` and the workers say so.

    Raises:
        MigrationError: a migration failed; the traceback leads to its line.
    """
    if get_settings().environment == "production" or not get_settings().migrate_on_reload:
        return
    sys.dont_write_bytecode = True  # Alembic would use it for another save within the same second, too
    try:
        with get_engine().connect() as connection:
            seen = {row.file for row in _rows(connection, "alembic_applied")}
        if seen >= {_digest(path.read_bytes()) for path in (ROOT / "migrations" / "versions").glob("*.py")}:
            return  # without loading them all
        if is_behind():
            from alembic import command

            time.sleep(REST)
            command.upgrade(_config(), "head")
        _report_edits()
    except SyntaxError:
        raise
    except Exception as error:  # noqa: BLE001  whatever a migration raises
        if not (is_away(error) or is_away(error.__cause__)):
            cause = getattr(error, "orig", error)
            reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
            message = f"{reason} (the database is as before; fix the file and save it, or delete it)"
            raise MigrationError(message).with_traceback(error.__traceback__) from None


def note(connection: Connection, script: Script, *, is_applied: bool) -> None:
    """Remember the content of a migration that is applied, or forget it."""
    names = ("revision", "file", "code")
    columns = ", ".join(f"{name} VARCHAR(64) NOT NULL" for name in names)
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS alembic_applied ({columns})"))
    content = Path(script.path).read_bytes()
    row = dict(zip(names, (script.revision, _digest(content), _digest_of_code(content)), strict=True))
    connection.execute(text("DELETE FROM alembic_applied WHERE revision = :revision"), row)
    if is_applied:
        connection.execute(text("INSERT INTO alembic_applied VALUES (:revision, :file, :code)"), row)


def _rows(connection: Connection, table: str) -> Sequence[Row[Any]]:
    exists = connection.dialect.has_table(connection, table)
    return connection.execute(text(f"SELECT * FROM {table}")).all() if exists else []  # noqa: S608


def _report_edits() -> None:
    """Log each edit of a migration that had been applied, once."""
    known, newest = known_revisions()
    with get_engine().begin() as connection:
        noted = {row.revision: row for row in _rows(connection, "alembic_applied")}
        are_all_applied = newest <= {row.version_num for row in _rows(connection, "alembic_version")}
        for revision, script in known.items():
            content = Path(script.path).read_bytes()
            if revision not in noted:  # it was applied before there were notes
                note(connection, script, is_applied=are_all_applied)
            elif noted[revision].file != _digest(content):
                update = text("UPDATE alembic_applied SET file = :file WHERE revision = :revision")
                connection.execute(update, {"file": _digest(content), "revision": revision})
                if noted[revision].code != _digest_of_code(content):
                    logger.warning(
                        "%s was edited after it was applied, and is not applied again: write another "
                        "migration, or start with an empty database: make db-reset",
                        Path(script.path).relative_to(ROOT),
                    )


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of_code(content: bytes) -> str:
    """A digest that formatting does not change: `make migration` formats what it has written."""
    ignored = ast.Expr | ast.Import | ast.ImportFrom
    nodes = [node for node in ast.parse(content).body if not isinstance(node, ignored)]
    return _digest("\n".join(map(ast.unparse, nodes)).encode())


def _config() -> Config:
    return Config(toml_file=ROOT / "pyproject.toml")
