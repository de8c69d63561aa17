"""Hostile uploads, files and parameters: refused with a reason; nothing is stored, leaked or harmed."""

import json
import re
import select
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from tests.conftest import empty_database
from tests.kit.hostile_server import (
    FAULTS,
    LEAKS,
    get,
    running_api,
)
from tests.kit.redis_server import running_redis
from tests.sales.hostile_files import TEXTS
from tests.sales.hostile_stack import Peak, Sales
from tests.sales.hostile_uploads import (
    EVENTS,
    FILE,
    IMPORTS,
    NAMES,
    PARAMETERS,
    UPLOADS,
    Refused,
    events,
    form,
    upload,
)
from tests.sales.sales_csv import HEADER, ROW, row_with

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def sales(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sales]:
    folder = tmp_path_factory.mktemp("hostile")
    database_url = empty_database(request.param, request, folder)
    (folder / "redis").mkdir()
    with (
        running_redis(folder / "redis") as redis_url,
        running_api(folder, redis_url, database_url, "tests.sales.impatient_app:app") as server,
    ):
        sales = Sales(folder, server, redis_url, database_url)
        sales.run(f"{HEADER}\n{ROW}\n".encode())  # the first one makes connections and loads what is lazy
        yield sales
        sales.stop()


@pytest.fixture(autouse=True)
def unharmed(sales: Sales) -> Iterator[None]:
    processes = sales.server.processes()
    yield
    sales.server.assert_unharmed(processes)
    assert sales.worker.poll() is None
    assert not FAULTS.search(log := sales.worker_log()), log


@pytest.mark.parametrize("case", UPLOADS.values(), ids=UPLOADS.keys())
def test_a_hostile_upload_is_refused_and_nothing_is_stored(sales: Sales, case: Refused) -> None:
    before = sales.stored()
    answer = sales.ask(case.request)
    assert answer.status in case.statuses, answer
    if answer.is_problem:
        assert case.detail in json.loads(answer.body)["detail"]
    assert sales.stored() == before


@pytest.mark.parametrize("drop", [b"", b"x"], ids=["stops", "drips"])
def test_an_upload_that_is_too_slow_is_given_up_and_nothing_is_stored(sales: Sales, drop: bytes) -> None:
    def slowly() -> Iterator[bytes]:
        # Larger than what is kept in memory: there is a temporary file.
        yield upload(form(b"a" * (2 << 20)), length=40 << 20)
        end = monotonic() + 10
        while drop and monotonic() < end:
            select.select([], [], [], 0.1)
            yield drop

    before = sales.stored()
    answer = sales.ask(slowly())
    assert (answer.status, answer.is_problem) == (408, True)
    assert sales.stored() == before


@pytest.mark.parametrize("case", PARAMETERS.values(), ids=PARAMETERS.keys())
def test_a_hostile_parameter_is_a_problem(sales: Sales, case: tuple[str, int]) -> None:
    path, status = case
    answer = sales.ask(get(path))
    assert (answer.status, answer.is_problem) == (status, status != 200), answer


@pytest.mark.parametrize(("name", "kept"), NAMES.items(), ids=map(ascii, range(len(NAMES))))
def test_of_a_hostile_file_name_only_a_harmless_name_is_kept(
    sales: Sales, name: str, kept: str | None
) -> None:
    disposition = FILE.replace("a.csv", name.replace('"', '\\"'))
    data = f"{HEADER}\n{row_with(InvoiceNo=f'name{list(NAMES).index(name)}')}\n".encode()
    body = form(data, "#").replace(b"#", disposition.encode("utf-8", "surrogatepass"))
    answer = sales.ask(upload(body))
    if answer.status == 202:
        filename = json.loads(answer.body)["filename"]
        assert filename == kept or (kept is None and filename.isprintable())
        sales.ended(json.loads(answer.body)["id"])
    else:
        assert answer.status in (400, 422)


@pytest.fixture(scope="module")
def texts(sales: Sales) -> dict[str, Any]:
    """An import of all the texts, each as a code, a description and a country."""
    lines = [row_with(InvoiceNo=cell[:64], Description=cell, Country=cell) for cell in TEXTS]
    return sales.run("\n".join([HEADER, *lines]).encode())


@pytest.mark.parametrize("number", range(len(TEXTS)), ids=[ascii(cell[:30]) for cell in TEXTS])
def test_a_text_stays_exactly_as_it_is(sales: Sales, texts: dict[str, Any], number: int) -> None:
    assert texts["rows_done"] == len(TEXTS)
    rows = sales.rows(
        "SELECT invoice, description, country FROM sales_lines WHERE import_id = :id ORDER BY line",
        id=texts["id"] if sales.engine.dialect.name == "postgresql" else texts["id"].replace("-", ""),
    )
    cell = TEXTS[number]
    assert tuple(rows[number]) == (cell[:64], cell, cell)


def test_no_text_becomes_a_part_of_the_page(sales: Sales, texts: dict[str, Any]) -> None:
    page = sales.server.get("/").body.decode()
    assert len(re.findall(r"<script", page)) == 2, "its own, and that of development"
    assert not re.search(r"<img|onload=|<b>", page)
    countries = json.loads(sales.server.get("/api/v1/sales/summary?group_by=country").body)["groups"]
    assert {*TEXTS} <= {group["key"] for group in countries}


@pytest.mark.parametrize("name", EVENTS)
def test_a_hostile_request_for_events_gets_them_all_the_same(
    sales: Sales, texts: dict[str, Any], name: str
) -> None:
    (answer,) = sales.server.exchange(events(texts["id"], EVENTS[name]))
    assert answer.status == 200
    assert answer.body.count(b"event: progress") == 1


MIB = 1 << 20
HUGE = {
    "one-line": b"a" * (45 * MIB),
    "zeros": bytes(45 * MIB),
    "quotes": b'"' * (45 * MIB),
    "delimiters": b"," * (45 * MIB),
    "line-breaks": b"\n" * (2 * MIB),
    "columns": HEADER.encode() + b",a" * (20 * MIB),
    "one-row": f"{HEADER}\n".encode() + b"1," * (20 * MIB),
    "open-quotes": f"{HEADER}\n".encode() + b'"a\n' * (MIB // 16),
    "a-cell-that-never-ends": f'{HEADER}\n{ROW}\n"'.encode() + b"a\n" * (MIB // 8),
    "empty-rows": f"{HEADER}\n".encode() + b",,,,,,,\n" * (MIB // 32),
    "bad-rows": f"{HEADER}\n".encode() + b"a\n" * (MIB // 8),
}


@pytest.mark.parametrize("name", HUGE)
def test_memory_is_flat_while_a_huge_file_is_refused(sales: Sales, name: str) -> None:
    peak = Peak(sales)
    before = peak.highest
    with peak.looking():
        view = sales.run(HUGE[name])
    assert view["status"] == "failed" or view["rows_rejected"] > 0
    assert peak.highest - before < 100
    assert peak.now() - before < 40


def test_no_reason_of_any_import_tells_about_the_inside(sales: Sales) -> None:
    listing = sales.ask(get(f"{IMPORTS}?limit=1000"))
    assert not LEAKS.search(listing.body)
