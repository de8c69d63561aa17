"""Imports that fail, are retried, lost or attempted twice: every row is stored once."""

import json
import signal
import subprocess
import uuid
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import psutil
import pytest
from fastapi.testclient import TestClient
from redis import Redis
from sqlalchemy import event

from tests.conftest import wait_until
from tests.kit.services import running_worker
from tests.sales.imports import IMPORTS, ended, sales_csv, upload
from tests.sales.sales_csv import sales_file


@pytest.fixture
def sweep(stack: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Run the sweeps, which take care of every import at once."""
    from src.kit.queue import durable
    from src.kit.queue import enqueue as job_queue

    monkeypatch.setattr(durable, "PATIENCE", timedelta(0))
    return job_queue.run_sweeps


def fail_for_good(import_id: str) -> None:
    """What happens to an import whose job has used up its tries."""
    from src.sales import imports

    imports.fail(uuid.UUID(import_id), "The job failed for good: ValueError: out of luck")


def test_an_import_that_has_finished_does_not_fail_afterwards(
    client: TestClient, worker: object, redis_url: str
) -> None:
    from src.sales.jobs import give_up

    import_id = upload(client, sales_csv(10)[0]).json()["id"]
    ended(client, import_id)

    def progress() -> str | None:
        report = Redis.from_url(redis_url).get(f"progress:{import_id}")
        return str(json.loads(report)["state"]) if isinstance(report, bytes) else None

    wait_until(lambda: progress() == "finished", what="the last report")
    give_up(uuid.UUID(import_id), "A job that was taken for dead could not read its file.")
    assert progress() == "finished"
    assert client.get(f"{IMPORTS}/{import_id}").json()["status"] == "finished"


def test_a_file_is_accepted_anew_if_its_import_fails_just_as_it_comes_again(client: TestClient) -> None:
    from src.kit.database.engine import get_engine

    first = upload(client, b"the same bytes").json()["id"]
    # When the unique index has refused the second import, and nobody has looked for the first one yet.
    event.listen(get_engine(), "checkin", lambda *_: fail_for_good(first), once=True)
    again = upload(client, b"the same bytes")
    assert (again.status_code, again.json()["id"] != first) == (202, True)


def test_an_import_that_failed_for_good_is_retried_by_a_request(
    client: TestClient, stack: dict[str, str]
) -> None:
    data, total = sales_csv(3000)
    import_id = upload(client, data).json()["id"]
    fail_for_good(import_id)
    assert client.get(f"{IMPORTS}/{import_id}").json()["reason"].endswith("out of luck")
    assert f'data-retry="{import_id}"' in client.get("/").text
    response = client.post(f"{IMPORTS}/{import_id}/retry")
    assert response.status_code == 202
    assert response.headers["location"] == f"{IMPORTS}/{import_id}"
    assert (response.json()["status"], response.json()["reason"]) == ("queued", None)
    with running_worker(stack):
        assert ended(client, import_id)["rows_done"] == 3000
    assert "data-retry" not in client.get("/").text.partition("<script>")[0]
    assert Decimal(client.get("/api/v1/sales/summary?group_by=day").json()["total"]) == total


def test_the_sweep_does_not_mistake_an_old_failure_for_that_of_the_retry(
    client: TestClient, sweep: Callable[[], None]
) -> None:
    from rq.job import JobStatus

    from src.kit.queue import enqueue as job_queue

    import_id = upload(client, sales_csv(10)[0]).json()["id"]
    job = job_queue.find_job(import_id)
    assert job
    job_queue.get_queue().remove(job)
    job.set_status(JobStatus.FAILED)
    sweep()
    assert client.get(f"{IMPORTS}/{import_id}").json()["status"] == "failed"
    assert client.post(f"{IMPORTS}/{import_id}/retry").status_code == 202
    sweep()
    assert client.get(f"{IMPORTS}/{import_id}").json()["status"] == "queued"
    assert job_queue.get_queue().job_ids == [import_id]


def test_a_retried_import_goes_to_where_it_was_accepted(client: TestClient) -> None:
    from src.kit.queue import enqueue as job_queue

    ids = [upload(client, sales_csv(rows)[0]).json()["id"] for rows in (1, 2, 3)]
    fail_for_good(ids[1])
    assert client.post(f"{IMPORTS}/{ids[1]}/retry").status_code == 202
    assert job_queue.get_queue().job_ids == ids


def test_only_what_failed_can_be_retried(client: TestClient) -> None:
    data, _ = sales_csv(10)
    import_id = upload(client, data).json()["id"]
    waiting = client.post(f"{IMPORTS}/{import_id}/retry")
    assert (waiting.status_code, waiting.json()["status"]) == (409, 409)
    assert "queued" in waiting.json()["detail"]
    assert client.post(f"{IMPORTS}/{uuid.UUID(int=0)}/retry").status_code == 404
    fail_for_good(import_id)
    assert upload(client, data).status_code == 202
    replaced = client.post(f"{IMPORTS}/{import_id}/retry")
    assert replaced.status_code == 409
    assert "uploaded again" in replaced.json()["detail"]


def test_a_job_killed_half_way_is_retried_and_the_figures_are_exact(
    client: TestClient, worker: subprocess.Popen[bytes]
) -> None:
    data, total = sales_csv(30_000)
    import_id = upload(client, data).json()["id"]
    wait_until(lambda: client.get(f"{IMPORTS}/{import_id}").json()["rows_done"], 30, "the first rows")
    (job,) = psutil.Process(worker.pid).children()
    job.send_signal(signal.SIGKILL)
    view = ended(client, import_id)
    assert (view["status"], view["rows_done"]) == ("finished", 30_000)
    assert Decimal(client.get("/api/v1/sales/summary?group_by=day").json()["total"]) == total


def test_the_sweep_enqueues_an_import_that_redis_lost(
    client: TestClient, redis_url: str, sweep: Callable[[], None]
) -> None:
    from src.kit.queue import enqueue as job_queue

    import_id = upload(client, sales_csv(10)[0]).json()["id"]
    Redis.from_url(redis_url).flushall()
    sweep()
    sweep()
    assert job_queue.get_queue().job_ids == [import_id]


def test_the_sweep_does_not_mistake_a_superseded_job_that_ends_for_a_lost_import(
    client: TestClient, sweep: Callable[[], None]
) -> None:
    from rq.job import JobStatus

    from src.kit.queue import enqueue as job_queue

    import_id = upload(client, sales_csv(10)[0]).json()["id"]
    job = job_queue.find_job(import_id)
    assert job
    job.set_status(JobStatus.FINISHED)  # by the old one, while the new one waits
    sweep()
    assert job_queue.get_queue().job_ids == [import_id]


def test_two_attempts_at_once_store_every_row_once(client: TestClient) -> None:
    from src.sales.imports import Attempt, Superseded
    from src.sales.rows import SalesRow

    data, total = sales_csv(10)
    import_id = uuid.UUID(upload(client, data).json()["id"])
    rows = [row for row in sales_file(data).rows() if isinstance(row, SalesRow)]
    old = Attempt(import_id)
    old.store(rows[:5], 10)
    new = Attempt(import_id)
    with pytest.raises(Superseded):
        old.store(rows[5:], 10)
    new.store(rows, 10)
    new.finish(10)
    for step in (lambda: old.finish(10), lambda: Attempt(import_id)):
        with pytest.raises(Superseded):
            step()
    assert client.get(f"{IMPORTS}/{import_id}").json()["rows_done"] == 10
    assert Decimal(client.get("/api/v1/sales/summary?group_by=day").json()["total"]) == total
