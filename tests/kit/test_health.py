"""The API is ready only while Redis answers and the database is migrated; its check finds out if it hangs."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from fastapi.testclient import TestClient
from redis import Redis
from sqlalchemy import text

from src.kit.database.engine import get_engine
from tests.conftest import ROOT, wait_until
from tests.kit.production_process import Api, running_api
from tests.kit.redis_server import running_redis
from tests.kit.services import settings_read_again

FASTAPI = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["fastapi"]
CHECK: list[str] = FASTAPI["healthcheck"]["test"]


def test_it_is_ready_when_redis_answers_and_the_database_is_migrated(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"status": "ok"}
    for path in ("/health/live", "/health/ready"):  # some load balancers ask only for that
        assert (client.head(path).status_code, client.head(path).content) == (200, b"")


def test_without_redis_it_is_live_but_not_ready(client: TestClient) -> None:
    with settings_read_again(REDIS_URL="redis://127.0.0.1:1/0"):
        assert client.get("/health/live").status_code == 200
        response = client.get("/health/ready")
        assert response.status_code == 503
        assert "Redis" in response.json()["detail"]
        assert client.get("/version").json()["workers"] == []


@pytest.mark.skipif(not any(ROOT.glob("migrations/versions/*.py")), reason="there is no migration yet")
@pytest.mark.parametrize("change", ["DROP TABLE alembic_version", "DELETE FROM alembic_version"])
def test_without_the_newest_migration_it_is_not_ready(client: TestClient, change: str) -> None:
    with get_engine().begin() as connection:
        connection.execute(text(change))
    response = client.get("/health/ready")
    assert response.status_code == 503
    assert "make migrate" in response.json()["detail"]


def test_a_migration_of_newer_code_does_not_stop_the_older_code(client: TestClient) -> None:
    with get_engine().begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of_the_future'"))
    assert client.get("/health/ready").status_code == 200


def is_healthy(api: Api) -> bool:
    own = {"8000": str(api.port), "/dev/shm": str(api.output.parent)}  # noqa: S108
    command = [sys.executable, *CHECK[2:]]
    for name, value in own.items():
        command = [part.replace(name, value) for part in command]
    return subprocess.run(command, capture_output=True, env=os.environ, check=False).returncode == 0


def is_ready(api: Api) -> bool:
    return api.ask("/health/ready").status_code == 200


def test_it_is_healthy_once_it_is_ready_and_an_outage_does_not_change_that(
    environment: dict[str, str], tmp_path: Path
) -> None:
    def migrated(statement: str) -> None:
        with closing(sqlite3.connect(tmp_path / "app.db")) as database, database:
            database.execute(statement)

    migrated("ALTER TABLE alembic_version RENAME TO kept")
    with ExitStack() as services:
        (tmp_path / "redis").mkdir()
        environment["REDIS_URL"] = services.enter_context(running_redis(tmp_path / "redis"))
        with running_api(tmp_path, environment, 1) as api:
            assert not is_healthy(api)
            migrated("ALTER TABLE kept RENAME TO alembic_version")
            assert is_healthy(api)
            services.close()
            assert not is_ready(api)
            assert is_healthy(api)


@pytest.mark.slow  # it waits for a silent Redis
def test_it_is_healthy_while_every_thread_waits_for_a_silent_redis(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "redis").mkdir()
    with running_redis(tmp_path / "redis") as url, ExitStack() as clients:
        environment["REDIS_URL"] = url
        with running_api(tmp_path, environment, 1) as api:
            assert is_healthy(api)
            os.kill(Redis.from_url(url).info("server")["process_id"], signal.SIGSTOP)
            for _ in range(120):  # three times as many as there are threads
                client = clients.enter_context(socket.create_connection(("127.0.0.1", api.port)))
                client.sendall(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert is_healthy(api)


@pytest.mark.slow  # it waits until Gunicorn notices
def test_a_hung_api_is_unhealthy_and_gunicorn_replaces_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    # Gunicorn gives the worker up after eight seconds: later than a check gives up.
    with running_api(tmp_path, environment, 1, "--timeout", "8") as api:
        assert is_healthy(api)
        (worker,) = api.workers()
        worker.send_signal(signal.SIGSTOP)
        assert not is_healthy(api)
        wait_until(lambda: not worker.is_running(), what="the end of the hung worker")
        wait_until(lambda: api.output.read_text().count("Application startup complete") == 2, what="the next")
        assert is_healthy(api)
        assert api.stop() == 0
