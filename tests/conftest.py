"""The fixtures for your own tests: `stack`, `client` and `worker`, on a real Redis and a real database."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from hypothesis import settings

from tests.kit.services import (
    ROOT,
    database_url,
    empty_database,
    postgres_server,
    postgres_template,
    redis_server,
    redis_url,
    running_worker,
    settings_read_again,
    sqlite_template,
    wait_until,
)

__all__ = [
    "ROOT", "database_url", "empty_database", "postgres_server", "postgres_template", "redis_server",
    "redis_url", "sqlite_template", "wait_until",
]  # fmt: skip

# What the container of an editor has for the stack that runs beside it (.devcontainer).
for name in (
    "API_KEYS_FILE", "API_PORT", "DATABASE_PASSWORD_FILE", "DATABASE_URL", "ENVIRONMENT", "LOG_DIR",
    "LOG_LEVEL", "REDIS_PASSWORD_FILE", "REDIS_URL",
):  # fmt: skip
    os.environ.pop(name, None)

pytest_plugins = ["tests.kit.left_out"]

settings.register_profile("untimed", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("untimed")


@pytest.fixture
def stack(redis_url: str, database_url: str) -> Iterator[dict[str, str]]:
    """The environment of the service, also in this process: an empty Redis, and a database with tables."""
    hosts = "localhost,127.0.0.1,testserver"  # TestClient asks for testserver
    with settings_read_again(REDIS_URL=redis_url, DATABASE_URL=database_url, ALLOWED_HOSTS=hosts):
        yield dict(os.environ)


@pytest.fixture
def client(stack: dict[str, str]) -> Iterator[TestClient]:
    """A client of the application, which has started up."""
    from src.main import app

    with TestClient(app) as client:
        yield client


@pytest.fixture
def worker(stack: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker process."""
    with running_worker(stack) as process:
        yield process
