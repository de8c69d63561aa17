"""Whether a process can work: Redis answers, and the database is at the newest migration."""

import logging
import time
from functools import lru_cache

from alembic.config import Config
from alembic.script import ScriptDirectory
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from src.kit.database.engine import ROOT, get_engine
from src.kit.redis import away_reason, get_redis

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 1.0
"""Seconds between two checks while a process waits."""


def readiness_problems() -> list[str]:
    """What keeps this process from working: empty once Redis and a fully migrated database answer."""
    return [problem for problem in (_redis_problem(), _database_problem()) if problem]


def wait_until_ready() -> None:
    """Wait for Redis and the database, and log the reason, once for each."""
    logged: list[str] = []
    pause = 0.1
    while problems := readiness_problems():
        if problems != logged:
            logger.warning("Waiting before the first job: %s", " ".join(problems))
            logged = problems
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
    if logged:
        logger.info("Redis and the database are ready")


def _redis_problem() -> str | None:
    try:
        # A write that changes nothing, because a full Redis or a replica would still answer a PING.
        get_redis().setrange("ready", 0, "")
    except RedisError as error:
        return away_reason(error)
    return None


def _database_problem() -> str | None:
    try:
        with get_engine().connect() as connection:
            applied = set()
            if connection.dialect.has_table(connection, "alembic_version"):
                applied = set(connection.scalars(text("SELECT version_num FROM alembic_version")))
    except SQLAlchemyError as error:
        return f"The database does not answer ({type(error).__name__})."
    known, newest = _revisions()
    # A revision that this code does not know belongs to newer code: a rolling update is under way.
    if applied <= known and not newest <= applied:
        return "The database is not at the newest migration: run the migrations (make migrate)."
    return None


@lru_cache
def _revisions() -> tuple[frozenset[str], frozenset[str]]:
    """All revisions in `migrations`, and the newest, usually one."""
    scripts = ScriptDirectory.from_config(Config(toml_file=ROOT / "pyproject.toml"))
    return frozenset(script.revision for script in scripts.walk_revisions()), frozenset(scripts.get_heads())
