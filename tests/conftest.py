"""Real services for the tests: Redis as a process, SQLite as a file, Postgres where there is one."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from redis import Redis
from sqlalchemy import create_engine, text

from tools.postgres_binary import find_postgres, running_postgres
from tools.redis_binary import running_redis

# A machine that is busy is no reason to fail.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent


def wait_until(condition: Callable[[], T | None], seconds: float = 30, what: str = "the condition") -> T:
    """The condition's value as soon as it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of the test session's own."""
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis."""
    Redis.from_url(redis_server).flushall()
    return redis_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """TEST_POSTGRES_URL, whose user may create databases, else a cluster of the test session's own."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield url
        return
    binaries = find_postgres()
    if not binaries:
        pytest.skip("no Postgres: there is neither TEST_POSTGRES_URL nor initdb on this machine")
    # Not in pytest's folder, which is the user's alone: Postgres refuses to run as root.
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        running_postgres(binaries, Path(folder), "fsync=off") as url,
    ):
        yield url


def empty_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty database: `sqlite`, a file in this folder, or `postgres`, where there is one."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'app.db'}"
    server: str = request.getfixturevalue("postgres_server")
    name = f"test_{os.urandom(6).hex()}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server.rpartition('/')[0]}/{name}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of either kind."""
    return empty_database(request.param, request, tmp_path)


@pytest.fixture
def stack(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The environment of a process of ours, in this process too: empty Redis, migrated database."""
    from alembic import command
    from alembic.config import Config

    from src import settings
    from src.kit import redis
    from src.kit import settings as kit_settings
    from src.kit.database import engine
    from src.kit.queue import enqueue

    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    # "testserver" is the name by which Starlette's test client asks.
    monkeypatch.setenv("ALLOWED_HOSTS", "localhost,127.0.0.1,testserver")
    cached = (
        settings.get_settings,
        kit_settings.get_settings,
        engine.get_engine,
        redis.get_redis,
        enqueue.get_queue,
    )
    for function in cached:
        function.cache_clear()
    command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")
    yield dict(os.environ)
    engine.get_engine().dispose()
    for function in cached:
        function.cache_clear()
