"""Fixtures for the tests of `kit`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.hostile_server import Server
from tests.kit.worker_process import workers

__all__ = ["workers"]


@pytest.fixture
def environment(tmp_path: Path, redis_url: str, sqlite_template: Path) -> dict[str, str]:
    """The environment of a process on an empty Redis and a migrated SQLite database."""
    shutil.copy(sqlite_template, tmp_path / "app.db")
    return os.environ | {"REDIS_URL": redis_url, "DATABASE_URL": f"sqlite:///{tmp_path / 'app.db'}"}


@pytest.fixture
def unharmed(server: Server) -> Iterator[None]:
    """Check that a test has done no harm to the server of its module."""
    processes = server.processes()
    yield
    server.assert_unharmed(processes)
