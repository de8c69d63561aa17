"""Live, ready and version: who runs, whether it can work, and on which code."""

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from alembic.config import Config
from alembic.script import ScriptDirectory
from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field
from rq.utils import as_text
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from src.database import ROOT, get_engine
from src.job_queue import REDIS_AWAY, get_redis
from src.reload import problem
from src.reload.fingerprint import fingerprint
from src.settings import get_settings

SRC = Path(__file__).parent

router = APIRouter(tags=["health"])


class Worker(BaseModel):
    """One worker, as it registered itself in Redis."""

    name: str
    code: str | None = Field(description="Fingerprint of the code that it runs.", examples=["c0ffee123456"])
    loaded_at: datetime | None
    state: str = Field(description="RQ's state of a worker.", examples=["idle", "busy"])


class OnDisk(BaseModel):
    """Code that the API does not run, though it is there."""

    code: str = Field(description="Fingerprint of the code on disk.", examples=["c0ffee123456"])
    problem: str | None = Field(
        description="Why it does not run, with file and line.",
        examples=["src/main.py:12: SyntaxError: invalid syntax"],
    )


class Version(BaseModel):
    """Which code runs where."""

    environment: Literal["development", "production"]
    code: str = Field(description="Fingerprint of the API's code.", examples=["c0ffee123456"])
    loaded_at: datetime
    workers: list[Worker]
    on_disk: OnDisk | None = Field(default=None, description="In development, where it is not what runs.")


class Running(NamedTuple):
    """What this process runs."""

    code: str
    """Fingerprint of all `.py` files under `src`, as they were when it loaded them."""
    loaded_at: datetime


@lru_cache
def running() -> Running:
    """The code of this process; whoever loads it calls this once it has.

    At import it would be too early: a reload need not import this module again.
    """
    return Running(fingerprint(SRC), datetime.now(UTC))


class Status(BaseModel):
    """The answer of a health check that found nothing wrong."""

    status: Annotated[str, Field(examples=["ok"])] = "ok"


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


def workers() -> list[Worker]:
    """The workers that are registered in Redis, by name; none while Redis is away."""
    try:
        redis = get_redis()
        keys = sorted(as_text(key) for key in redis.smembers("rq:workers"))
        with redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            hashes = pipeline.execute()
    except REDIS_AWAY:
        return []
    found = []
    for key, fields in zip(keys, hashes, strict=True):
        worker = {name.decode(): value.decode() for name, value in fields.items()}
        loaded_at = worker.get("loaded_at")
        if worker and "death" not in worker:
            found.append(
                Worker(
                    name=key.removeprefix("rq:worker:"),
                    code=worker.get("code"),
                    loaded_at=loaded_at and datetime.fromisoformat(loaded_at),
                    state=worker.get("state", "unknown"),
                )
            )
    return found


@router.get("/health/live")
def live() -> Status:
    """The process answers: an orchestrator restarts it when this fails."""
    return Status()


@router.get("/health/ready", responses={503: {"description": "What it waits for."}})
def ready() -> Status:
    """The process can work: a load balancer sends requests only while this answers 200."""
    if problems := readiness_problems():
        raise HTTPException(503, detail=" ".join(problems))
    return Status()


def on_disk() -> OnDisk | None:
    """The code on disk in development, where the API does not run it: it is being loaded, or it is broken."""
    if get_settings().environment == "production" or (code := fingerprint(SRC)) == running().code:
        return None
    return OnDisk(code=code, problem=problem.current())


@router.get("/version", response_model_exclude_none=True)
def version() -> Version:
    """Which code the API and every worker run: the same tree gives the same `code` in every process."""
    return Version(
        environment=get_settings().environment,
        code=running().code,
        loaded_at=running().loaded_at,
        workers=workers(),
        on_disk=on_disk(),
    )
