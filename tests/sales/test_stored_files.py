"""The files of imports: how much may wait, and when they are deleted."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from tests.sales.imports import IMPORTS, ended, sales_csv, upload


def stored() -> int:
    """The bytes of all files that are stored."""
    from src.kit.database.engine import transaction
    from src.sales.models import SalesImportChunk

    with transaction() as session:
        return session.scalar(select(func.sum(func.length(SalesImportChunk.data)))) or 0


def fail(import_id: str) -> None:
    """Let an import fail now."""
    from src.sales import imports

    assert imports.fail(uuid.UUID(import_id), "Out of luck.")


@pytest.fixture
def quota(request: pytest.FixtureRequest, stack: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A quota of 1 MiB, or of what the test asks for."""
    monkeypatch.setenv("SALES_MAX_WAITING_MB", getattr(request, "param", "1"))
    from src.settings import get_settings

    get_settings.cache_clear()


def test_a_file_beyond_the_quota_is_refused_until_another_one_is_gone(
    quota: None, client: TestClient
) -> None:
    first, second = b"a" * 700_000, b"b" * 700_000
    waiting = upload(client, first).json()["id"]
    refused = upload(client, second)
    assert (refused.status_code, refused.json()["status"]) == (507, 507)
    assert "SALES_MAX_WAITING_MB" in refused.json()["detail"]
    assert stored() == 700_000
    assert [view["id"] for view in client.get(IMPORTS).json()] == [waiting]
    assert upload(client, b"c" * 300_000).status_code == 202
    assert upload(client, b"c" * 300_000).status_code == 200, "it is stored already"
    assert client.delete(f"{IMPORTS}/{waiting}").status_code == 204
    assert upload(client, second).status_code == 202


def test_the_files_of_failed_imports_make_room_the_oldest_first(quota: None, client: TestClient) -> None:
    failed = [upload(client, letter * 300_000).json()["id"] for letter in (b"a", b"b", b"c")]
    for import_id in (failed[1], failed[0], failed[2]):
        fail(import_id)
    assert upload(client, b"d" * 1_100_000).status_code == 507
    assert stored() == 900_000, "nothing is deleted in vain"
    assert upload(client, b"e" * 400_000).status_code == 202
    assert stored() == 1_000_000
    retries = {import_id: client.post(f"{IMPORTS}/{import_id}/retry").status_code for import_id in failed}
    assert retries == {failed[0]: 202, failed[1]: 409, failed[2]: 202}


@pytest.mark.parametrize("quota", ["10"], indirect=True)
def test_large_files_that_arrive_at_once_leave_room_to_small_ones(quota: None, client: TestClient) -> None:
    with ThreadPoolExecutor(6) as clients:
        files = [bytes([number]) * 2_500_000 for number in b"abcdef"]
        statuses = Counter(answer.status_code for answer in clients.map(partial(upload, client), files))
    assert statuses.keys() == {202, 507}
    assert stored() == statuses[202] * 2_500_000 <= 0.9 * 10 * 2**20
    assert upload(client, b"a" * 100_000).status_code == 202


def test_the_file_of_a_finished_import_is_deleted_at_once(client: TestClient, worker: object) -> None:
    assert ended(client, upload(client, sales_csv(10)[0]).json()["id"])["status"] == "finished"
    assert stored() == 0


def test_the_file_of_an_import_that_failed_long_ago_is_deleted(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.sales.jobs import delete_old_files
    from src.settings import get_settings

    failed, waiting = (upload(client, data).json()["id"] for data in (b"a" * 600_000, b"b" * 100_000))
    fail(failed)
    delete_old_files()
    assert stored() == 700_000
    monkeypatch.setenv("SALES_KEEP_FILES", "0s")
    get_settings.cache_clear()
    delete_old_files()
    assert stored() == 100_000
    assert client.get(f"{IMPORTS}/{failed}").json()["reason"] == "Out of luck."
    gone = client.post(f"{IMPORTS}/{failed}/retry")
    assert gone.status_code == 409
    assert "SALES_KEEP_FILES" in gone.json()["detail"]
    assert client.get(f"{IMPORTS}/{failed}").json()["status"] == "failed"
    assert upload(client, b"a" * 600_000).status_code == 202


def test_the_workers_delete_old_files_every_hour() -> None:
    from src.kit.queue.every import schedules
    from src.sales.jobs import delete_old_files

    assert [each.spec for each in schedules() if each.function is delete_old_files] == ["every 1:00:00"]
