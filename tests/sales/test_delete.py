"""Imports that are deleted: before, while and after they run, nothing of them stays."""

import subprocess
import uuid

import psutil
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from tests.conftest import wait_until
from tests.sales.imports import IMPORTS, ended, sales_csv, upload


def stored() -> list[int]:
    """How many imports, pieces of files, and lines the database has."""
    from src.kit.database.engine import transaction
    from src.sales.models import SalesImport, SalesImportChunk, SalesLine

    with transaction() as session:
        return [
            session.scalar(select(func.count()).select_from(table)) or 0
            for table in (SalesImport, SalesImportChunk, SalesLine)
        ]


def test_an_import_that_has_ended_is_deleted_with_its_rows(client: TestClient, worker: object) -> None:
    data, total = sales_csv(1000)
    kept = ended(client, upload(client, data).json()["id"])
    gone = ended(client, upload(client, data.replace(b"France", b"Spain")).json()["id"])
    assert client.delete(f"{IMPORTS}/{gone['id']}").status_code == 204
    assert stored() == [1, 0, 1000]
    assert client.get("/api/v1/sales/summary?group_by=day").json()["total"] == str(total)
    assert [view["id"] for view in client.get(IMPORTS).json()] == [kept["id"]]
    again = client.delete(f"{IMPORTS}/{gone['id']}")
    assert (again.status_code, again.json()["detail"]) == (404, f"There is no import {gone['id']}.")
    assert upload(client, data.replace(b"France", b"Spain")).status_code == 202


def test_an_import_that_waits_is_cancelled(client: TestClient) -> None:
    from src.kit.queue.enqueue import get_queue

    import_id = upload(client, sales_csv(10)[0]).json()["id"]
    assert client.delete(f"{IMPORTS}/{import_id}").status_code == 204
    assert (stored(), get_queue().job_ids) == ([0, 0, 0], [])


def test_an_import_that_runs_is_stopped_and_the_next_one_runs(
    client: TestClient, worker: "subprocess.Popen[bytes]"
) -> None:
    from rq.job import JobStatus

    from src.kit.queue.enqueue import find_job

    import_id = upload(client, sales_csv(30_000)[0]).json()["id"]
    wait_until(lambda: client.get(f"{IMPORTS}/{import_id}").json()["rows_done"], 30, "the first rows")
    (process,) = psutil.Process(worker.pid).children()
    assert client.delete(f"{IMPORTS}/{import_id}").status_code == 204
    wait_until(lambda: not process.is_running(), what="the job to be stopped")
    job = find_job(import_id)
    assert job
    over = (JobStatus.STOPPED, JobStatus.FINISHED)  # it may notice the end of its import itself
    wait_until(lambda: job.get_status() in over, what="the job to be noted as stopped")
    assert stored() == [0, 0, 0]
    view = ended(client, upload(client, sales_csv(10)[0]).json()["id"])
    assert (view["status"], stored()) == ("finished", [1, 0, 10])


def test_an_import_whose_job_runs_after_it_was_deleted_stores_nothing(client: TestClient) -> None:
    from src.sales.jobs import run_import

    import_id = upload(client, sales_csv(10)[0]).json()["id"]
    client.delete(f"{IMPORTS}/{import_id}")
    run_import(import_id)
    assert stored() == [0, 0, 0]


def test_a_large_import_is_deleted_in_several_statements(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.sales import imports
    from src.sales.jobs import run_import

    import_id = upload(client, sales_csv(1001)[0]).json()["id"]
    run_import(import_id)
    monkeypatch.setattr(imports, "REMOVED", 100)
    imports.remove(uuid.UUID(import_id))
    assert stored() == [0, 0, 0]


def test_the_events_of_a_deleted_import_end(client: TestClient) -> None:
    import_id = upload(client, sales_csv(10)[0]).json()["id"]
    with client.stream("GET", f"{IMPORTS}/{import_id}/events") as stream:
        lines = stream.iter_lines()
        assert next(lines)
        client.delete(f"{IMPORTS}/{import_id}")
        assert list(lines)[-1] == ""
    assert client.get(f"{IMPORTS}/{import_id}/events").status_code == 404
