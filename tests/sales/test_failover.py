"""Imports while their Redis dies and its replica takes over."""

import secrets
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.conftest import wait_until
from tests.kit.services import running_worker, settings_read_again
from tests.kit.watched_redis import running_sentinel
from tests.sales.imports import IMPORTS, sales_csv, upload

FILES = 20


@pytest.mark.slow  # it waits for the failover, and for the sweep
def test_a_failover_in_the_middle_of_20_imports_loses_none(stack: dict[str, str], tmp_path: Path) -> None:
    with ExitStack() as running:
        (tmp_path / "redis").mkdir()
        watched = running.enter_context(running_sentinel(tmp_path / "redis", secrets.token_hex(16)))
        running.enter_context(settings_read_again(**watched.environment))
        from src.main import app

        client = running.enter_context(TestClient(app))
        for _ in range(2):
            running.enter_context(running_worker(stack | watched.environment))

        def with_status(status: str) -> list[dict[str, Any]]:
            return [view for view in client.get(IMPORTS).json() if view["status"] == status]

        for number in range(FILES // 2):
            assert upload(client, sales_csv(2_000 + number)[0]).status_code == 202
        wait_until(lambda: with_status("finished") and with_status("queued"), what="the middle")
        watched.kill_master()
        for number in range(FILES // 2, FILES):  # there is no master while these come
            assert upload(client, sales_csv(2_000 + number)[0]).status_code == 202
        wait_until(lambda: len(with_status("finished")) == FILES, 120, "all imports")
        assert {view["rows_done"] for view in with_status("finished")} == set(range(2_000, 2_000 + FILES))
