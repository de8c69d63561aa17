"""The API is ready only while Redis answers and the database is at the newest migration."""

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from src.kit import redis, settings
from src.kit.database.engine import get_engine
from tests.conftest import ROOT


def test_it_is_ready_when_redis_answers_and_the_database_is_migrated(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").json() == {"status": "ok"}


def test_without_redis_it_is_live_but_not_ready(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    settings.get_settings.cache_clear()
    redis.get_redis.cache_clear()
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
