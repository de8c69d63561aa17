"""Whether a process can work: Redis answers, and the database is at the newest migration."""

from functools import lru_cache

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from src.kit.database.engine import ROOT, get_engine
from src.kit.redis import REDIS_AWAY, get_redis


def readiness_problems() -> list[str]:
    """What this process waits for: empty once Redis answers and the database is at the newest migration."""
    return [problem for problem in (_redis_problem(), _database_problem()) if problem]


def _redis_problem() -> str | None:
    try:
        get_redis().ping()
    except REDIS_AWAY as error:
        return f"Redis does not answer ({type(error).__name__})."
    return None


def _database_problem() -> str | None:
    try:
        with get_engine().connect() as connection:
            applied = set()
            if connection.dialect.has_table(connection, "alembic_version"):
                applied = set(connection.scalars(text("SELECT version_num FROM alembic_version")))
    except SQLAlchemyError as error:
        return f"The database does not answer ({type(error).__name__})."
    # A revision that this code does not know belongs to newer code: a rolling update is under way.
    if applied <= _revisions() and not _heads() <= applied:
        return "The database is not at the newest migration: run the migrations (make migrate)."
    return None


@lru_cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml"))


@lru_cache
def _heads() -> frozenset[str]:
    return frozenset(_scripts().get_heads())


@lru_cache
def _revisions() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())
