"""The summary is what a plain calculation over the rows of the finished imports gives, on each database."""

import io
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from src.kit.database.engine import transaction
from src.sales import imports
from src.sales.models import GroupBy, SalesImport
from src.sales.rows import SalesRow
from src.sales.schemas import Group, Summary
from src.sales.summary import summarize

FIRST_DAY = datetime(2010, 12, 1)  # noqa: DTZ001
# Few of each, so that the same invoice comes on several days, in several countries and imports.
ROWS = st.builds(
    SalesRow,
    line=st.just(0),
    invoice=st.sampled_from("123"),
    stock_code=st.sampled_from("AB"),
    quantity=st.integers(-3, 10**6).map(str),
    invoiced_at=st.integers(0, 3).map(lambda days: str(FIRST_DAY + timedelta(days=days, hours=days))),
    unit_price=st.decimals(-9, 9, places=6).map("{:f}".format),
    country=st.sampled_from(["Norway", "EIRE"]),
)
DAYS = st.none() | st.integers(-1, 4).map(lambda days: FIRST_DAY.date() + timedelta(days=days))
ENDS = st.sampled_from(["finished", "finished", "failed", "given up", "running"])


def begin(number: int, rows: Sequence[SalesRow]) -> imports.Attempt:
    """Store the rows of an import, some of them in an earlier attempt that died."""
    sales_import, _ = imports.accept(io.BytesIO(str(number).encode()), "sales.csv")
    rows = [row.model_copy(update={"line": line}) for line, row in enumerate(rows, 2)]
    imports.Attempt(sales_import.id).store(rows[: len(rows) // 2], len(rows))
    attempt = imports.Attempt(sales_import.id)
    attempt.store(rows, len(rows))
    return attempt


def naive(
    rows: Sequence[SalesRow], group_by: GroupBy, first: date | None, last: date | None, limit: int | None
) -> Summary:
    """The summary of these rows, calculated in the plainest way."""
    groups: dict[str, list[SalesRow]] = defaultdict(list)
    for row in rows:
        day = row.invoiced_at.date()
        if (first or day) <= day <= (last or day):
            groups[{"day": str(day), "country": row.country, "product": row.stock_code}[group_by]].append(row)
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
    total = sum((group.revenue for group in found), Decimal(0))
    return Summary(total=total, groups=found[:limit])


@given(
    files=st.lists(st.tuples(st.lists(ROWS, max_size=8), ENDS), max_size=4),
    days=st.tuples(DAYS, DAYS),
    limit=st.none() | st.integers(1, 3),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_summary_is_what_the_finished_imports_add_up_to(
    stack: dict[str, str],
    files: list[tuple[list[SalesRow], str]],
    days: tuple[date | None, date | None],
    limit: int | None,
) -> None:
    with transaction() as session:
        session.execute(delete(SalesImport))
    finished: list[SalesRow] = []
    for number, (rows, end) in enumerate(files):
        attempt = begin(number, rows)
        if end == "failed":
            imports.fail(imports.newest(1)[0].id, "The file is of no use.")
        elif end == "given up":
            imports.fail(imports.newest(1)[0].id, "The job failed for good.")
        elif end == "finished":
            attempt.finish(0)
            finished += rows
    for group_by in GroupBy:
        expected = naive(finished, group_by, *days, limit)
        found = summarize(group_by, *days, limit)
        pages = [found]
        assert (found.total, found.groups) == (expected.total, expected.groups)
        while offset := pages[-1].next:
            pages.append(summarize(group_by, *days, limit, offset))
        assert {page.total for page in pages} == {expected.total}
        groups = [group for page in pages for group in page.groups]
        assert groups == naive(finished, group_by, *days, None).groups
        nothing = summarize(group_by, *days, limit, len(groups))
        assert (nothing.total, nothing.groups, nothing.next) == (expected.total, [], None)
