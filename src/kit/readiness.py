"""Whether a process can work: Redis answers, and the database has the newest migration and room for more."""

import logging
import time

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from src.kit.database.engine import is_full, require_room
from src.kit.database.revisions import is_behind, known_revisions
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
        known_revisions.cache_clear()  # in development, the migration that it waits for may be taken back
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
        if is_behind():
            return "The database is not at the newest migration: run the migrations (make migrate)."
        require_room()
    except SQLAlchemyError as error:
        if is_full(error):
            return "The disk of the database is full."
        return f"The database does not answer ({type(error).__name__})."
    return None
