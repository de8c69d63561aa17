"""An attack by uploads: each is answered, memory and disk are limited, and other clients are served."""

import json
import select
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from time import monotonic

import pytest

from tests.conftest import empty_database
from tests.kit.hostile_server import running_api
from tests.sales.hostile_stack import Peak, Sales
from tests.sales.hostile_uploads import FORM, IMPORTS, form, upload
from tests.sales.sales_csv import HEADER, ROW, row_with

pytestmark = pytest.mark.slow

MIB = 1 << 20
UPLOADS = DRIPPING = 30
SIZE = 20 * MIB
PLACES = 2 * 8  # MAX_UPLOADS in each process
ONE, OTHER = "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def sales(request: pytest.FixtureRequest, redis_server: str, tmp_path: Path) -> Iterator[Sales]:
    database_url = empty_database(request.param, request, tmp_path)
    with running_api(tmp_path, redis_server, database_url) as server:
        sales = Sales(tmp_path, server, redis_server, database_url)
        sales.run(f"{HEADER}\n{ROW}\n".encode())
        yield sales
        sales.stop()


def small(sales: Sales, number: int) -> tuple[str, list[float]]:
    """The import of a small file; the seconds that a small request took, and accepting the file."""
    begin = monotonic()
    assert sales.server.get(f"{IMPORTS}?limit=1").status == 200
    answered = monotonic()
    accepted = sales.accept(f"{HEADER}\n{row_with(InvoiceNo=f'small{number}')}\n".encode())
    return accepted, [answered - begin, monotonic() - answered]


def temporary(sales: Sales) -> int:
    """The bytes of the files that the API is receiving; they have no name any more, or never had one."""
    total = 0
    for file in (file for each in sales.server.workers() for file in Path(f"/proc/{each.pid}/fd").iterdir()):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if str(sales.server.temp) in str(file.readlink()) else 0
    return total


def test_uploads_at_once_are_all_answered_and_others_are_served(sales: Sales) -> None:
    before, peak, ended, most = [small(sales, n) for n in range(9)], Peak(sales), threading.Event(), 0
    began = peak.highest

    def send(number: int) -> int:
        body = form(b"%d" % number + b"a" * SIZE)
        (answer,) = sales.server.exchange(upload(body, FORM, ONE), seconds=120)
        assert json.loads(answer.body)
        return answer.status

    def drip() -> None:
        nonlocal most
        with ExitStack() as stack:
            dripping = [stack.enter_context(sales.server.connect()) for _ in range(DRIPPING)]
            for connection in dripping:
                connection.sendall(upload(form(b"a" * (2 * MIB)), FORM, OTHER, length=SIZE))
            while not ended.wait(0.1):
                most = max(most, temporary(sales))
                for connection in select.select([], dripping, [], 0)[1]:
                    connection.send(b"a" * 2048)

    with ThreadPoolExecutor(UPLOADS + 1) as clients, peak.looking():
        dripper = clients.submit(drip)
        uploads = [clients.submit(send, number) for number in range(UPLOADS)]
        during = [small(sales, 9)]
        while not all(upload.done() for upload in uploads):
            during.append(small(sales, 9 + len(during)))
        ended.set()
        dripper.result()
    statuses = Counter(upload.result() for upload in uploads)
    assert statuses.keys() <= {202, 429, 503}
    assert statuses[202]
    assert 0 < most < PLACES * SIZE
    assert peak.highest - began < 100
    for kind in (0, 1):
        quiet, busy = (median(seconds[kind] for _, seconds in each) for each in (before, during))
        assert busy < 3 * quiet + 2
    for accepted, _ in during:
        assert sales.ended(accepted)["status"] == "finished"
