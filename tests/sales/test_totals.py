"""The summary is what a naive computation over the rows of the finished imports gives, on each database."""

import io
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text

from src.kit.database.engine import transaction
from src.sales import imports, totals
from src.sales.importer import SalesRow
from src.sales.models import GroupBy, SalesImport, SalesInvoiceDay, SalesRepeat, SalesTotal
from src.sales.schemas import Group, Summary
from src.sales.summary import summarize
from tests.conftest import ROOT

FIRST_DAY = datetime(2010, 12, 1)  # noqa: DTZ001
# Few of each, so that the same invoice comes on several days, in several countries and imports.
ROWS = st.builds(
    SalesRow,
    line=st.just(0),
    invoice=st.sampled_from("123"),
    stock_code=st.sampled_from("AB"),
    description=st.none(),
    quantity=st.integers(-3, 10**9),
    invoiced_at=st.integers(0, 3).map(lambda days: FIRST_DAY + timedelta(days=days, hours=days)),
    unit_price=st.decimals(-9, 9, places=6),
    customer_id=st.none(),
    country=st.sampled_from(["Norway", "EIRE"]),
)
DAYS = st.none() | st.integers(-1, 4).map(lambda days: FIRST_DAY.date() + timedelta(days=days))


@dataclass
class File:
    """A file of sales and what happens while it is imported."""

    rows: list[SalesRow]
    interrupted_after: int | None = None
    """Rows after which a first try is given up, if there is one."""
    ends: str = "finished"


FILES = st.builds(
    File,
    st.lists(ROWS, max_size=8),
    st.none() | st.integers(0, 8),
    st.sampled_from(["finished", "finished", "finished", "failed", "running"]),
)


def accept(number: int) -> imports.Attempt:
    sales_import, is_new = imports.accept(io.BytesIO(str(number).encode()), "sales.csv")
    assert is_new
    return imports.Attempt(sales_import.id)


def store(attempt: imports.Attempt, rows: Sequence[SalesRow]) -> None:
    attempt.store([replace(row, line=line) for line, row in enumerate(rows, 2)], [])


def begin(number: int, file: File) -> imports.Attempt:
    attempt = accept(number)
    if file.interrupted_after is not None:
        store(attempt, file.rows[: file.interrupted_after])
        attempt = imports.Attempt(attempt.import_id)
    store(attempt, file.rows)
    return attempt


def naive(
    rows: Sequence[SalesRow], group_by: GroupBy, first: date | None, last: date | None, limit: int | None
) -> Summary:
    """The summary of these rows, computed in the plainest way."""
    groups: dict[str, list[SalesRow]] = defaultdict(list)
    total = Decimal(0)
    for row in rows:
        day = row.invoiced_at.date()
        if day < (first or day) or day > (last or day):
            continue
        key = {"day": str(day), "country": row.country, "product": row.stock_code}[group_by]
        groups[key].append(row)
        total += row.quantity * row.unit_price
    found = [
        Group(
            key=key,
            revenue=sum((row.quantity * row.unit_price for row in rows), Decimal(0)),
            orders=len({row.invoice for row in rows}),
            units=sum(row.quantity for row in rows),
        )
        for key, rows in groups.items()
    ]
    found.sort(key=lambda group: group.key if group_by is GroupBy.DAY else (-group.revenue, group.key))
    return Summary(total=total, groups=found[:limit])


def forget_everything() -> None:
    with transaction() as session:
        for table in (SalesImport, SalesTotal, SalesInvoiceDay, SalesRepeat):
            session.execute(delete(table))


@given(
    files=st.lists(FILES, max_size=4),
    order=st.randoms(use_true_random=False),
    group_by=st.sampled_from(GroupBy),
    days=st.tuples(DAYS, DAYS),
    limit=st.none() | st.integers(1, 3),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_summary_is_what_the_finished_imports_add_up_to(
    stack: dict[str, str],
    files: list[File],
    order: Any,
    group_by: GroupBy,
    days: tuple[date | None, date | None],
    limit: int | None,
) -> None:
    forget_everything()
    begun = [(begin(number, file), file) for number, file in enumerate(files)]
    order.shuffle(begun)
    rows: list[SalesRow] = []
    for attempt, file in begun:
        if file.ends == "failed":
            attempt.fail("The file is of no use.")
        elif file.ends == "finished":
            attempt.finish()
            rows += file.rows
        assert summarize(group_by, *days, limit) == naive(rows, group_by, *days, limit)
    for kind in GroupBy:
        assert summarize(kind, None, None, None) == naive(rows, kind, None, None, None)


@given(files=st.lists(FILES, min_size=1, max_size=3))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_migration_counts_in_what_has_finished_before_it(
    stack: dict[str, str], files: list[File]
) -> None:
    forget_everything()
    rows: list[SalesRow] = []
    for number, file in enumerate(files):
        attempt = begin(number, file)
        if file.ends == "finished":
            attempt.finish()
            rows += file.rows
    alembic = Config(toml_file=ROOT / "pyproject.toml")
    command.downgrade(alembic, "3f1c7a9be204")
    command.upgrade(alembic, "head")
    for kind in GroupBy:
        assert summarize(kind, None, None, None) == naive(rows, kind, None, None, None)
    attempt = begin(len(files), files[0])
    attempt.finish()
    for kind in GroupBy:
        assert summarize(kind, None, None, None) == naive([*rows, *files[0].rows], kind, None, None, None)


def test_imports_that_finish_at_the_same_time_are_all_counted_in_once(stack: dict[str, str]) -> None:
    row = SalesRow(0, "1", "A", None, 2, FIRST_DAY, Decimal("1.25"), None, "Norway")
    attempts = [accept(number) for number in range(8)]
    for attempt in attempts:
        store(attempt, [row])
    together = threading.Barrier(len(attempts))

    def finish(attempt: imports.Attempt) -> None:
        together.wait()
        attempt.finish()

    threads = [threading.Thread(target=finish, args=(attempt,)) for attempt in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for kind in GroupBy:
        assert summarize(kind, None, None, None) == naive([row] * 8, kind, None, None, None)


def test_an_upload_is_accepted_while_an_import_finishes(stack: dict[str, str]) -> None:
    attempt = accept(1)
    accepted: list[Any] = []
    upload = threading.Thread(target=lambda: accepted.append(accept(2)))
    with transaction() as session:
        totals.wait_for_turn(session)
        session.execute(text("UPDATE sales_imports SET attempt = attempt"))
        upload.start()
        assert summarize(GroupBy.DAY, None, None, None).groups == []
    upload.join()
    attempt.finish()
    assert len(accepted) == 1


DIES = """
import sys, time, uuid
from datetime import datetime
from decimal import Decimal
from src.sales import imports, totals
from src.sales.importer import SalesRow

add = totals.add

def add_and_hang(*arguments):
    add(*arguments)
    print("counted in, not committed", flush=True)
    time.sleep(600)

totals.add = add_and_hang
attempt = imports.Attempt(uuid.UUID(sys.argv[1]))
attempt.store([SalesRow(2, "1", "A", None, 2, datetime(2010, 12, 1), Decimal("1.25"), None, "Norway")], [])
attempt.finish()
"""


def test_an_import_whose_process_dies_as_it_finishes_is_counted_in_once(stack: dict[str, str]) -> None:
    row = SalesRow(0, "1", "A", None, 2, FIRST_DAY, Decimal("1.25"), None, "Norway")
    import_id = accept(1).import_id
    with subprocess.Popen(
        [sys.executable, "-c", DIES, str(import_id)], env=stack, cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith(b"counted in")
        assert summarize(GroupBy.DAY, None, None, None).groups == []
        process.kill()
    again = imports.Attempt(import_id)
    store(again, [row])
    again.finish()
    for kind in GroupBy:
        assert summarize(kind, None, None, None) == naive([row], kind, None, None, None)
