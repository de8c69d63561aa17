"""Fixtures for the tests of `kit`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.hostile_server import Server, running_api
from tests.kit.worker_process import workers

__all__ = ["workers"]


@pytest.fixture
def environment(tmp_path: Path, redis_url: str, sqlite_template: Path) -> dict[str, str]:
    """The environment of a process on an empty Redis and a migrated SQLite database."""
    shutil.copy(sqlite_template, tmp_path / "app.db")
    return os.environ | {"REDIS_URL": redis_url, "DATABASE_URL": f"sqlite:///{tmp_path / 'app.db'}"}


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Gunicorn for the tests of a module, with the application and the variables of its SERVER."""
    folder = tmp_path_factory.mktemp("server")
    options: dict[str, str] = getattr(request.module, "SERVER", {})
    with running_api(folder, redis_server, f"sqlite:///{folder / 'app.db'}", **options) as server:
        yield server


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Check that a test has done no harm to the server of its module."""
    processes = server.processes()
    yield
    server.assert_unharmed(processes)
