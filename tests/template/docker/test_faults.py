"""Nothing accepted gets lost, whatever breaks: one production stack, 20 imports in flight each time."""

import signal
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest

from tests.conftest import wait_until
from tests.template.docker import engine, sales
from tests.template.docker.engine import children
from tests.template.docker.faults import Drill, seeds
from tests.template.running import Running, edit

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


OVERRIDE = """
services:
  fastapi: &quick
    healthcheck: {interval: 2s, retries: 30}
  rqworker: *quick
  redis: *quick
  postgres: *quick
"""
"""Docker asks a container again after each pause; as many seconds as otherwise may go by."""


@pytest.fixture(scope="module")
def production(clone: Running) -> Running:
    """Production, whose containers are asked often how they are."""
    (clone.folder / "docker-compose.override.yml").write_text(OVERRIDE)
    clone.make("prod")
    return clone


@pytest.fixture
def drill(production: Running) -> Drill:
    """A drill on a stack that is well."""
    engine.wait_until_well(production)
    return Drill(production)


def a_worker(running: Running) -> list[int]:
    return children(running.containers("rqworker")[0])[:1]


def jobs_under_way(running: Running) -> list[int]:
    def look() -> list[int]:
        workers = running.containers("rqworker")
        return [job for worker in workers for job in children(worker, children(worker)[0])]

    return wait_until(look, what="a job under way")


def a_gunicorn_worker(running: Running) -> list[int]:
    (api,) = running.containers("fastapi")
    return children(api, children(api)[0])[:1]


def the_gunicorn_master(running: Running) -> list[int]:
    return children(running.containers("fastapi")[0])[:1]


def send(number: signal.Signals, find: Callable[[Running], list[int]], running: Running) -> None:
    engine.send(running, number, *find(running))


def kill_and_start(service: str, running: Running) -> None:
    killed = [container["Id"] for container in running.containers(service)]
    engine.docker("kill", *killed)
    time.sleep(5)  # how long it is away, not what is waited for
    # Docker treats `docker kill` as its user's wish, against which the restart policy does nothing.
    assert running.containers(service) == []
    engine.docker("start", *killed)


def crash(service: str, running: Running) -> None:
    before = engine.started_at(running, service)
    engine.send(running, signal.SIGKILL, running.containers(service)[0]["State"]["Pid"])

    def is_started_again() -> bool:
        after = engine.started_at(running, service)
        return after.keys() == before.keys() and after != before

    wait_until(is_started_again, 60, f"Docker to start {service} again")


def silence(service: str, running: Running) -> None:
    engine.on_all(running, service, "pause")
    try:
        time.sleep(30)  # how long it is away, not what is waited for
    finally:
        engine.on_all(running, service, "unpause")


def restart(service: str, running: Running) -> None:
    engine.on_all(running, service, "restart")


def empty_redis(running: Running) -> None:
    running.inside("redis", "redis-cli", "FLUSHALL")


def down_and_up(running: Running) -> None:
    running.make("down")
    running.make("prod")


def replace_the_image(running: Running) -> None:
    edit(running.folder / "src" / "sales" / "jobs.py", GREEDY)
    running.make("prod")
    running.wait_for_code(workers=3)


class Fault(NamedTuple):
    """What goes wrong, and what the API may or has to say meanwhile."""

    happen: Callable[[Running], object]
    api_may_be_gone: bool = False
    reason: str = ""


PROCESSES = (a_worker, jobs_under_way, a_gunicorn_worker, the_gunicorn_master)
REASONS = {"redis": "Redis", "postgres": "database"}
FAULTS = (
    {
        f"{number.name} to {find.__name__}": Fault(partial(send, number, find), "gunicorn" in find.__name__)
        for number in (signal.SIGKILL, signal.SIGTERM)
        for find in PROCESSES
    }
    | {
        f"{name} killed and started": Fault(
            partial(kill_and_start, name), name == "fastapi", REASONS.get(name, "")
        )
        for name in engine.COUNTS
    }
    | {f"{name} crashes": Fault(partial(crash, name)) for name in REASONS}
    | {f"{name} restarted": Fault(partial(restart, name), name == "fastapi") for name in engine.COUNTS}
    | {f"{name} silent for 30 s": Fault(partial(silence, name), reason=REASONS[name]) for name in REASONS}
    | {
        "Redis emptied": Fault(empty_redis),
        "down and up": Fault(down_and_up, api_may_be_gone=True),
        "a newer image": Fault(replace_the_image, api_may_be_gone=True),
    }
)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_no_import_is_lost(drill: Drill, fault: Fault) -> None:
    with drill.in_flight():
        fault.happen(drill.running)
    drill.check(api_may_be_gone=fault.api_may_be_gone, reason=fault.reason)


def test_a_job_out_of_memory_fails_with_the_reason_and_its_worker_lives(drill: Drill) -> None:
    before = engine.started_at(drill.running, "rqworker")
    content, _ = sales.generated(10, next(seeds))
    with drill.in_flight():
        greedy = sales.upload(drill.running, content, "greedy.csv")["id"]
    found = drill.imports()[greedy]
    assert found["status"] == "failed"
    assert "signal 9" in found["reason"]
    assert engine.started_at(drill.running, "rqworker") == before, "no worker died with its job"
    engine.sql(drill.running, f"DELETE FROM sales_imports WHERE id = '{greedy}'")
    drill.check()


def test_a_job_over_its_timeout_fails_and_a_retry_with_more_time_succeeds(drill: Drill) -> None:
    drill.running.make("prod", JOB_TIMEOUT="4", JOB_RETRIES="1")  # plenty for the small ones
    rows = 200_000
    content, figures = sales.generated(rows, next(seeds))
    with drill.in_flight():
        large = sales.upload(drill.running, content, "large.csv")["id"]
    found = drill.imports()[large]
    assert found["status"] == "failed"
    assert "it had not ended after 4 s, its time limit" in found["reason"]
    assert sales.shown(drill.running) == drill.expected

    drill.running.make("prod")
    response = drill.running.request("POST", f"/api/v1/sales/imports/{large}/retry")
    assert response is not None
    assert response.status_code == 202, response.text
    ended = sales.wait_for_end(drill.running, large)
    assert (ended["status"], ended["rows_done"]) == ("finished", rows)
    drill.expected.update(figures)
    assert sales.shown(drill.running) == drill.expected
