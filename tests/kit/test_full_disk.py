"""A Postgres whose disk is full is named in responses and in `/health/ready`, until there is room again."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import Connection, create_engine, text

from src.kit.database.engine import get_engine
from src.kit.web import health, problems
from tests.kit.services import settings_read_again

FULL = "The disk of the database is full."
ROWS = "INSERT INTO filling SELECT repeat(md5(random()::text), 30) FROM generate_series(1, 100)"


@contextmanager
def small_disk(owner: int) -> Iterator[Path]:
    """A disk of 20 MB in memory; skips the test where it can't be mounted."""
    with tempfile.TemporaryDirectory(prefix="disk-") as folder:
        options = f"size=20m,uid={owner},mode=0700"
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mount.returncode:
            pytest.skip(f"no small disk can be mounted for Postgres: {mount.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def server(postgres_server: str) -> Iterator[Connection]:
    """A connection to the server, without transactions."""
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.fixture
def disk(server: Connection, postgres_server: str, postgres_template: str) -> Iterator[Path]:
    """The disk on which this process's database is, all of it; its log is on another one."""
    backend = server.scalar(text("SELECT pg_backend_pid()"))
    if not psutil.pid_exists(backend):
        pytest.skip("TEST_POSTGRES_URL is not on this machine: it can't use a small disk")
    with small_disk(psutil.Process(backend).uids().real) as folder:
        server.execute(text(f"CREATE TABLESPACE small LOCATION '{folder}'"))
        try:
            server.execute(text(f"CREATE DATABASE small TEMPLATE {postgres_template} TABLESPACE small"))
            with settings_read_again(DATABASE_URL=f"{postgres_server.rpartition('/')[0]}/small"):
                yield folder
        finally:
            server.execute(text("DROP DATABASE IF EXISTS small WITH (FORCE)"))
            server.execute(text("DROP TABLESPACE small"))


@pytest.fixture
def client(disk: Path, redis_url: str) -> Iterator[TestClient]:
    """A client of an application with a route that adds rows until there is no room for more."""
    app = FastAPI()
    problems.install(app)
    app.include_router(health.router)

    @app.post("/rows")
    def fill() -> None:
        while True:
            with get_engine().begin() as connection:
                connection.execute(text(ROWS))

    with settings_read_again(REDIS_URL=redis_url):
        yield TestClient(app)


def test_a_full_disk_is_named_until_there_is_room(client: TestClient, disk: Path) -> None:
    with get_engine().begin() as connection:
        connection.execute(text("CREATE TABLE filling (content text)"))
    assert client.get("/health/ready").status_code == 200
    for method, path in (("POST", "/rows"), ("GET", "/health/ready")):
        response = client.request(method, path)
        assert (response.status_code, FULL in response.json()["detail"]) == (503, True), response.json()
    subprocess.run(["mount", "-o", "remount,size=30m", disk], check=True)
    assert client.get("/health/ready").status_code == 200
