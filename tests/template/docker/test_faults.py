"""Nothing accepted gets lost, whatever breaks: one production stack, 20 imports in flight each time."""

import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from tests.conftest import wait_until
from tests.template.docker import faults, sales
from tests.template.docker.running import Running

ROWS = 3_000
BEFORE, DURING = 15, 5
"""Imports accepted before a part breaks, and posted while it is broken."""

GREEDY = """

_run_gently = _run


def _run(import_id: str, attempt: Attempt) -> None:
    sales_import = imports.find(uuid.UUID(import_id))
    hoard = []
    while sales_import and sales_import.filename == "greedy.csv":
        hoard.append(b"x" * 2**25)
    _run_gently(import_id, attempt)
"""
"""Added to the jobs of the newer image: a file whose job takes all memory."""

seeds = count(1000)


@pytest.fixture(scope="module")
def production(clone: Running) -> Running:
    """The production stack, running in the background."""
    clone.make("prod", seconds=300)
    faults.wait_until_well(clone)
    return clone


class Drill:
    """Twenty files, and what they have to add up to."""

    def __init__(self, running: Running) -> None:
        """Begin with empty tables."""
        faults.sql(running, "TRUNCATE sales_imports CASCADE")
        self.running = running
        self.watch = faults.Watch(running)
        self.expected: dict[str, sales.Figures] = defaultdict(sales.Figures)
        self.ids: list[str] = []

    def post(self, number: int) -> None:
        """Post so many files; each is tried until it is accepted."""
        for _ in range(number):
            seed = next(seeds)
            content, figures = sales.generated(ROWS, seed)
            self.ids.append(faults.upload_until_accepted(self.running, content, f"{seed}.csv"))
            for country, each in figures.items():
                self.expected[country].revenue += each.revenue
                self.expected[country].units += each.units
                self.expected[country].invoices |= each.invoices

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Accept files, let the workers begin, and accept the rest while the block breaks something."""
        faults.on_all(self.running, "rqworker", "pause")
        try:
            self.post(BEFORE)
        finally:
            faults.on_all(self.running, "rqworker", "unpause")
        wait_until(lambda: self._has_status("running"), what="imports that run")
        with self.watch.watching():
            poster = faults.in_background(lambda: self.post(DURING))
            yield
            poster.join(180)
            wait_until(lambda: len(self.ids) == BEFORE + DURING, what="all files to be accepted")
            wait_until(self._have_all_ended, 180, "all imports to end")
            faults.wait_until_well(self.running)

    def _has_status(self, status: str) -> bool:
        return any(each["status"] == status for each in faults.imports(self.running).values())

    def _have_all_ended(self) -> bool:
        found = faults.imports(self.running)
        return bool(found) and all(each["status"] in ("finished", "failed") for each in found.values())

    def check(self, *, api_may_be_gone: bool = False) -> None:
        """Every import finished once, with every row, and the API never failed."""
        found = faults.imports(self.running)
        assert set(found) == set(self.ids)
        for each in found.values():
            assert (each["status"], each["rows_done"], each["rows_rejected"]) == ("finished", ROWS, 0), (
                faults.as_json(each)
            )
        assert faults.sql(self.running, "SELECT count(*) FROM sales_lines").strip() == str(
            ROWS * len(self.ids)
        )
        self.check_summary()
        self.watch.check(may_be_gone=api_may_be_gone)

    def check_summary(self) -> None:
        """The summary is exact."""
        summary: dict[str, Any] = self.running.get("/api/v1/sales/summary?group_by=country")
        assert {
            group["key"]: (Decimal(group["revenue"]), group["orders"], group["units"])
            for group in summary["groups"]
        } == {key: (each.revenue, len(each.invoices), each.units) for key, each in self.expected.items()}


@pytest.fixture
def drill(production: Running) -> Drill:
    """A drill on a stack that is well."""
    faults.wait_until_well(production)
    return Drill(production)


def a_worker(running: Running) -> list[int]:
    return [faults.main_process(running.containers("rqworker")[0]).pid]


def jobs_under_way(running: Running) -> list[int]:
    def look() -> list[int]:
        workers = running.containers("rqworker")
        return [
            job.pid
            for container in workers
            for job in faults.children(container, faults.main_process(container).pid)
        ]

    return wait_until(look, what="a job under way")


def a_gunicorn_worker(running: Running) -> list[int]:
    (api,) = running.containers("fastapi")
    return [faults.children(api, faults.main_process(api).pid)[0].pid]


def the_gunicorn_master(running: Running) -> list[int]:
    return [faults.main_process(running.containers("fastapi")[0]).pid]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("find", [a_worker, jobs_under_way, a_gunicorn_worker, the_gunicorn_master])
def test_a_process_that_gets_a_signal_costs_nothing(
    drill: Drill, find: Callable[[Running], list[int]], number: signal.Signals
) -> None:
    with drill.in_flight():
        faults.send(drill.running, number, *find(drill.running))
    drill.check(api_may_be_gone=find in (a_gunicorn_worker, the_gunicorn_master))


@pytest.mark.parametrize("service", ["fastapi", "rqworker", "redis", "postgres"])
def test_a_service_whose_containers_are_killed_and_started_again_goes_on(drill: Drill, service: str) -> None:
    with drill.in_flight():
        killed = [container["Id"] for container in drill.running.containers(service)]
        faults.docker("kill", *killed)
        time.sleep(5)  # how long it is away, not what is waited for
        # Docker takes `docker kill` for the wish of its user, against which its restart policy does nothing.
        assert drill.running.containers(service) == []
        faults.docker("start", *killed)
    drill.check(api_may_be_gone=service == "fastapi")
    check_reasons(drill, service)


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_service_that_crashes_is_started_again_by_docker(drill: Drill, service: str) -> None:
    before = faults.started_at(drill.running, service)
    with drill.in_flight():
        (container,) = drill.running.containers(service)
        faults.send(drill.running, signal.SIGKILL, container["State"]["Pid"])
    drill.check()
    after = faults.started_at(drill.running, service)
    assert after.keys() == before.keys()
    assert after != before


@pytest.mark.parametrize("service", ["fastapi", "rqworker", "redis", "postgres"])
def test_a_service_that_is_restarted_goes_on(drill: Drill, service: str) -> None:
    with drill.in_flight():
        faults.on_all(drill.running, service, "restart")
    drill.check(api_may_be_gone=service == "fastapi")


@pytest.mark.parametrize("service", ["redis", "postgres"])
def test_a_service_that_is_silent_for_half_a_minute_is_waited_for(drill: Drill, service: str) -> None:
    with drill.in_flight():
        faults.on_all(drill.running, service, "pause")
        try:
            time.sleep(30)  # how long it is away, not what is waited for
        finally:
            faults.on_all(drill.running, service, "unpause")
    drill.check()
    check_reasons(drill, service)


def check_reasons(drill: Drill, service: str) -> None:
    """While a part was away, the API said which."""
    if word := {"redis": "Redis", "postgres": "database"}.get(service):
        assert any(word in reason for reason in drill.watch.reasons()), drill.watch.reasons()


def test_an_emptied_redis_loses_nothing(drill: Drill) -> None:
    with drill.in_flight():
        drill.running.compose("exec", "-T", "redis", "redis-cli", "FLUSHALL", form="prod")
    drill.check()


def test_down_and_prod_in_the_middle_lose_nothing(drill: Drill) -> None:
    with drill.in_flight():
        drill.running.make("down")
        drill.running.make("prod", seconds=300)
    drill.check(api_may_be_gone=True)


def test_a_newer_image_in_the_middle_loses_nothing(drill: Drill) -> None:
    path = drill.running.folder / "src" / "sales" / "jobs.py"
    path.write_text(path.read_text("utf-8") + GREEDY, "utf-8")
    with drill.in_flight():
        drill.running.make("prod", seconds=300)
        drill.running.wait_for_code(drill.running.code(), workers=3)
    drill.check(api_may_be_gone=True)


def test_a_job_out_of_memory_fails_with_the_reason_and_its_worker_lives(drill: Drill) -> None:
    before = faults.started_at(drill.running, "rqworker")
    content, _ = sales.generated(10, next(seeds))
    with drill.in_flight():
        greedy = faults.upload_until_accepted(drill.running, content, "greedy.csv")
    found = drill.running.get(f"/api/v1/sales/imports/{greedy}")
    assert found["status"] == "failed"
    assert "signal 9" in found["reason"]
    assert faults.started_at(drill.running, "rqworker") == before, "no worker died with its job"
    faults.sql(drill.running, f"DELETE FROM sales_imports WHERE id = '{greedy}'")
    drill.check()


def test_a_job_over_its_timeout_fails_with_the_reason_and_a_retry_with_more_time_succeeds(
    drill: Drill,
) -> None:
    drill.running.make("prod", seconds=300, JOB_TIMEOUT="1", JOB_RETRIES="1")
    rows = 60_000
    content, figures = sales.generated(rows, next(seeds))
    with drill.in_flight():
        large = faults.upload_until_accepted(drill.running, content, "large.csv")
    location = f"/api/v1/sales/imports/{large}"
    found = drill.running.get(location)
    assert found["status"] == "failed"
    assert "exceeded maximum timeout value (1 seconds)" in found["reason"]
    drill.check_summary()

    drill.running.make("prod", seconds=300)
    response = faults.request(drill.running, "POST", f"{location}/retry")
    assert response is not None
    assert response.status_code == 202, response.text
    wait_until(lambda: drill.running.get(location)["status"] == "finished", 120, "the retry to finish")
    assert drill.running.get(location)["rows_done"] == rows
    for country, each in figures.items():
        drill.expected[country].revenue += each.revenue
        drill.expected[country].units += each.units
        drill.expected[country].invoices |= each.invoices
    drill.check_summary()
