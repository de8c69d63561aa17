"""The sales API against a real Redis, on each database, with jobs run by a real worker."""

import json
import os
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from src.kit.web.problems import MEDIA_TYPE
from tests.conftest import ROOT
from tests.kit.services import running_worker, settings_read_again
from tests.sales.imports import IMPORTS, ended, sales_csv, upload


def test_an_import_adds_up_exactly(client: TestClient, worker: object) -> None:
    data, total = sales_csv(3000)
    response = upload(client, data)
    assert response.status_code == 202
    assert response.json()["status"] == "queued"
    assert response.headers["location"] == f"{IMPORTS}/{response.json()['id']}"
    view = ended(client, response.json()["id"])
    assert view["status"] == "finished"
    assert (view["rows_total"], view["rows_done"], view["rows_rejected"]) == (3000, 3000, 0)
    for group_by, groups in (("day", 28), ("country", 3), ("product", 40)):
        summary = client.get("/api/v1/sales/summary", params={"group_by": group_by}).json()
        assert Decimal(summary["total"]) == total
        assert sum(Decimal(group["revenue"]) for group in summary["groups"]) == total
        assert len(summary["groups"]) == groups
        asked, pages = {"group_by": group_by, "limit": "9"}, list[Any]()
        while not pages or asked["offset"]:
            pages.append(client.get("/api/v1/sales/summary", params=asked).json())
            asked["offset"] = pages[-1]["next"]
        assert [len(page["groups"]) for page in pages] == [9] * (groups // 9) + [groups % 9]
        assert [group for page in pages for group in page["groups"]] == summary["groups"]
    days = client.get("/api/v1/sales/summary?group_by=day&from=2010-12-02&to=2010-12-03").json()
    assert [group["key"] for group in days["groups"]] == ["2010-12-02", "2010-12-03"]


@pytest.mark.skipif(
    not os.environ.get("SALES_DATA_DIR"),
    reason="SALES_DATA_DIR names no folder with online_retail_10k.csv and figures.json",
)
def test_the_published_sample_gives_the_published_figures(client: TestClient, worker: object) -> None:
    folder = os.environ["SALES_DATA_DIR"]
    figures = json.loads(Path(folder, "figures.json").read_text())
    ended(client, upload(client, Path(folder, "online_retail_10k.csv").read_bytes()).json()["id"])
    for group_by in ("country", "day"):
        summary = client.get(f"/api/v1/sales/summary?group_by={group_by}").json()
        assert summary["total"] == figures["total"]
        assert {group["key"]: group["revenue"] for group in summary["groups"]} == figures[f"by_{group_by}"]


def test_the_same_bytes_are_one_import(client: TestClient, worker: object) -> None:
    data, total = sales_csv(10)
    first = upload(client, data, "a.csv")
    second = upload(client, data, "b.csv")
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    ended(client, first.json()["id"])
    assert upload(client, data).status_code == 200
    assert Decimal(client.get("/api/v1/sales/summary?group_by=day").json()["total"]) == total


def test_a_file_that_is_not_a_table_fails_with_the_reason_whenever_it_comes(
    client: TestClient, worker: object
) -> None:
    data = b"\x00\x01\x02 not a table"
    view = ended(client, upload(client, data).json()["id"])
    assert view["status"] == "failed"
    assert view["reason"].startswith("This is a binary file")
    assert view["errors"] == [{"line": 1, "column": None, "reason": view["reason"]}]
    assert client.post(f"{IMPORTS}/{view['id']}/retry").status_code == 202
    again = ended(client, view["id"])
    assert (again["status"], again["reason"]) == ("failed", view["reason"])
    second = upload(client, data)
    assert second.status_code == 202
    assert second.json()["id"] != view["id"]


def test_bad_rows_are_all_counted_and_the_first_100_explained(client: TestClient, worker: object) -> None:
    data, _ = sales_csv(1600)
    bad = data.replace(b",2010-12-0", b",2010-13-0")
    view = ended(client, upload(client, bad).json()["id"])
    count = bad.count(b",2010-13-0")
    assert (view["rows_total"], view["rows_done"], view["rows_rejected"]) == (1600, 1600 - count, count)
    assert len(view["errors"]) == 100
    assert view["errors"][0]["line"] == 2
    assert view["errors"][0]["column"] == "InvoiceDate"
    assert view["errors"][0]["reason"].startswith("'2010-13-01 08:26:00' is not a date")


def test_events_tell_the_progress_until_the_end(client: TestClient, worker: object) -> None:
    data, _ = sales_csv(8_000)
    import_id = upload(client, data).json()["id"]
    with client.stream("GET", f"{IMPORTS}/{import_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = "\n".join(stream.iter_lines()).strip().split("\n\n")
    sent = [dict(line.split(": ", 1) for line in event.splitlines() if ": " in line) for event in events]
    views = [json.loads(event["data"]) for event in sent if event.get("event") == "progress"]
    reports = [json.loads(event["data"]) for event in sent if event.get("event") == "report"]
    assert (reports[-1]["done"], reports[-1]["total"]) == (8_000, 8_000)
    assert views[-1]["status"] == "finished"
    done = [view["rows_done"] for view in views]
    assert done == sorted(done)
    assert done[-1] == 8_000


def test_a_file_with_more_rows_than_the_setting_allows_fails_and_says_so(
    client: TestClient, stack: dict[str, str]
) -> None:
    import_id = upload(client, sales_csv(11)[0]).json()["id"]
    with running_worker(stack | {"SALES_MAX_ROWS": "10"}):
        view = ended(client, import_id)
    assert (view["status"], view["rows_done"]) == ("failed", 0)
    assert view["reason"] == (
        "It has more than 10 rows: reading stopped at line 12, and no row was stored. "
        "Split it, or raise SALES_MAX_ROWS."
    )


def test_a_file_with_more_rejected_rows_than_the_setting_allows_fails_and_says_what_was_read(
    client: TestClient, stack: dict[str, str]
) -> None:
    data, _ = sales_csv(1600)
    files = data + b"x\n" * 40, data + b"x\n" * 641
    ids = [upload(client, each).json()["id"] for each in files]
    with running_worker(stack | {"SALES_MAX_REJECTED_ROWS": "40"}):
        good, view = (ended(client, each) for each in ids)
    assert (good["status"], good["rows_rejected"]) == ("finished", 40)
    assert (view["status"], view["rows_total"], view["rows_done"], view["rows_rejected"]) == (
        "failed", 2241, 1600, 400
    )  # fmt: skip
    assert view["errors"][0] == {
        "line": 1602, "column": "StockCode", "reason": "the row has 1 cells, the header 8"
    }  # fmt: skip
    assert view["reason"] == (
        "More than 40 rows are rejected: reading stopped after 2,000 of 2,241 rows, of which 400 were "
        "rejected. Correct the rows, or raise SALES_MAX_REJECTED_ROWS."
    )
    assert client.get("/api/v1/sales/summary?group_by=day").json()["total"] == str(sales_csv(1600)[1])


def test_small_files_come_before_large_ones_that_were_there_first(
    client: TestClient, stack: dict[str, str]
) -> None:
    mib = b"x" * 1024 * 1024
    files = mib + b"\n1", mib + b"\n2", sales_csv(1)[0], mib
    ids = [upload(client, each).json()["id"] for each in files]
    with running_worker(stack):
        ends = {import_id: ended(client, import_id)["finished_at"] for import_id in ids}
    assert sorted(ids, key=ends.__getitem__) == [*ids[2:], *ids[:2]]


def test_large_files_are_imported_where_no_worker_serves_low(
    client: TestClient, stack: dict[str, str]
) -> None:
    with settings_read_again(RQ_QUEUES="default"):
        import_id = upload(client, b"x" * 2 * 1024 * 1024).json()["id"]
    with running_worker(stack | {"RQ_QUEUES": "default"}):
        assert ended(client, import_id)["status"] == "failed"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{IMPORTS}/{uuid.UUID(int=0)}", 404),
        ("GET", f"{IMPORTS}/{uuid.UUID(int=0)}/events", 404),
        ("GET", f"{IMPORTS}/not-a-uuid", 422),
        ("GET", "/api/v1/sales/summary", 422),
        ("GET", "/api/v1/sales/summary?group_by=weather", 422),
        ("GET", "/api/v1/sales/summary?group_by=day&from=2011-01-01&to=2010-01-01", 422),
        ("GET", "/api/v1/sales/summary?group_by=day&from=yesterday", 422),
        ("GET", "/api/v1/sales/summary?group_by=day&from=1291852800", 422),
        ("GET", "/api/v1/sales/summary?group_by=day&limit=0", 422),
        ("GET", "/api/v1/sales/summary?group_by=day&offset=-1", 422),
        ("POST", IMPORTS, 422),
        ("PUT", IMPORTS, 405),
        ("GET", "/nowhere", 404),
    ],
)
def test_errors_are_problem_details(client: TestClient, method: str, path: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]


def test_before_the_migrations_it_asks_to_come_again(client: TestClient) -> None:
    from alembic import command
    from alembic.config import Config

    command.downgrade(Config(toml_file=ROOT / "pyproject.toml"), "base")
    for path in (IMPORTS, "/api/v1/sales/summary?group_by=day"):
        response = client.get(path)
        assert response.status_code == 503
        assert "no tables yet" in response.json()["detail"]


def test_a_file_over_the_limit_is_refused_and_nothing_is_stored(client: TestClient) -> None:
    response = upload(client, b"x" * (50 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert "MAX_UPLOAD_MB" in response.json()["detail"]
    assert client.get(IMPORTS).json() == []


def test_the_page_shows_imports_pictures_and_who_runs_which_code(client: TestClient, worker: object) -> None:
    assert "Nothing imported yet." in client.get("/").text
    data, _ = sales_csv(100)
    ended(client, upload(client, data, "<script>alert(1)</script>.csv").json()["id"])
    page = client.get("/").text
    code = client.get("/version").json()["code"]
    assert page.count("<svg") == 2
    assert "<script>alert" not in page
    assert page.count(f"<code>{code}</code>") == 2


def test_openapi_has_examples_and_problems(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert schema["components"]["schemas"]["ImportView"]["properties"]["rows_done"]["examples"]
    assert "Problem" in schema["components"]["schemas"]
    for operation in [each for path in schema["paths"].values() for each in path.values()]:
        errors = {status: each for status, each in operation["responses"].items() if status[0] in "45"}
        assert {"4XX", "5XX"} <= errors.keys()
        assert {media for each in errors.values() for media in each["content"]} == {MEDIA_TYPE}
    assert set(schema["paths"]) >= {
        IMPORTS,
        "/api/v1/sales/summary",
        "/health/live",
        "/health/ready",
        "/version",
    }
