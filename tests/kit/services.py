"""Real services for the tests: Redis as a process, SQLite as a file, Postgres where there is one."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from redis import Redis
from sqlalchemy import create_engine, text

from tests.kit.postgres_server import find_postgres, running_postgres
from tests.kit.redis_server import running_redis

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], T | None], seconds: float = 30, what: str = "the condition") -> T:
    """Return the condition's value as soon as it is true.

    Args:
        condition: called about 50 times a second.
        seconds: how long to wait; a busy machine may need all of it.
        what: named in the message of the AssertionError after that time.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return value


def migrate(environment: dict[str, str], folder: Path = ROOT) -> None:
    """Upgrade the database of an environment to the newest migration, with the code in `folder`."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=folder, env=environment, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis for this session (with pytest-xdist, for this process)."""
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis."""
    with Redis.from_url(redis_server) as redis:
        redis.flushall()
    return redis_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """TEST_POSTGRES_URL, whose user may create databases; without it, a new cluster for this session."""
    if url := os.environ.get("TEST_POSTGRES_URL"):
        yield url
        return
    binaries = find_postgres()
    if not binaries:
        pytest.skip("no Postgres: install it, or set TEST_POSTGRES_URL")
    # Not in pytest's own folder: Postgres refuses to run as root, and nobody else may enter that one.
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        running_postgres(binaries, Path(folder), "fsync=off") as url,
    ):
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: running the migrations takes a second, and most tests need them."""
    path = tmp_path_factory.mktemp("template") / "app.db"
    migrate(os.environ | {"DATABASE_URL": f"sqlite:///{path}"})
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """The name of a migrated Postgres database to copy."""
    url = create_postgres_database(postgres_server)
    migrate(os.environ | {"DATABASE_URL": url})
    return url.rpartition("/")[2]


def create_postgres_database(server: str, template: str = "template0") -> str:
    """Make a database on a server, and return its URL."""
    name = f"test_{os.urandom(6).hex()}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return f"{server.rpartition('/')[0]}/{name}"


def empty_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a new database with all tables and no rows.

    Args:
        kind: `sqlite`, a file in `folder`, or `postgres`, which skips the test where there is none.
        request: of the fixture that wants the database.
        folder: must exist.
    """
    if kind == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), folder / "app.db")
        return f"sqlite:///{folder / 'app.db'}"
    server: str = request.getfixturevalue("postgres_server")
    return create_postgres_database(server, request.getfixturevalue("postgres_template"))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database with all tables and no rows; the test runs once with each kind."""
    return empty_database(request.param, request, tmp_path)


@contextmanager
def settings_read_again(**variables: str) -> Iterator[None]:
    """Have this process forget its settings and connections, before the block and after it.

    Args:
        variables: what its environment has besides, in the block.
    """
    from src import settings
    from src.kit import redis
    from src.kit import settings as kit_settings
    from src.kit.database import engine
    from src.kit.queue import enqueue

    cached = (
        settings.get_settings,
        kit_settings.get_settings,
        engine.get_engine,
        redis.get_redis,
        enqueue.get_queue,
    )
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        for function in cached:
            function.cache_clear()
        try:
            yield
        finally:
            if engine.get_engine.cache_info().currsize:
                engine.get_engine().dispose()
            for function in cached:
                function.cache_clear()


@contextmanager
def running_worker(environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a worker process, and stop it at the end; fails if it does not stop cleanly."""
    process = subprocess.Popen([sys.executable, "-m", "src.rq_worker"], env=environment, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0
