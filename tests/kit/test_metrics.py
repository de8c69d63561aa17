"""`/metrics` of a real Gunicorn with several workers, and of real worker processes and their jobs."""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from src.kit.queue import durations
from tests.conftest import wait_until
from tests.kit.production_process import (
    Api,
    production_environment,
    running_api,
    running_development_api,
)
from tests.kit.services import settings_read_again
from tests.kit.worker_process import Workers, exhausted

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
PROCESSES = 3


@pytest.fixture(scope="module")
def api(redis_server: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API for all tests that don't harm its processes."""
    folder = tmp_path_factory.mktemp("api")
    shutil.copy(sqlite_template, folder / "app.db")
    with running_api(
        folder, production_environment(redis_server, f"sqlite:///{folder / 'app.db'}"), PROCESSES
    ) as api:
        yield api


@pytest.fixture
def own_api(environment: dict[str, str], tmp_path: Path) -> Iterator[Api]:
    """An API whose processes a test may end."""
    settings = production_environment(environment["REDIS_URL"], environment["DATABASE_URL"])
    with running_api(tmp_path, settings, PROCESSES) as api:
        yield api


def read(response: httpx.Response) -> Samples:
    """What `/metrics` answers, as Prometheus' own parser reads it."""
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(response.text))
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def samples(api: Api) -> Samples:
    return read(api.ask("/metrics"))


def value(api: Api, name: str, **labels: str) -> float:
    """One sample's value, 0 where there is none."""
    return samples(api).get((name, frozenset(labels.items())), 0)


def live_requests(api: Api) -> float:
    return value(api, "http_requests_total", method="GET", route="/health/live", status="200")


def ended_jobs(api: Api) -> dict[tuple[str, str], float]:
    """How many jobs have ended, by function and outcome."""
    return {
        (dict(labels)["function"].rpartition(".")[2], dict(labels)["outcome"]): number
        for (name, labels), number in samples(api).items()
        if name == "job_duration_seconds_count"
    }


def ask(api: Api, times: int) -> None:
    for _ in range(times):
        assert api.ask("/health/live").status_code == 200


def is_replaced(api: Api, gone: psutil.Process) -> bool:
    now = api.workers()
    return len(now) == PROCESSES and gone not in now


def counts_of(worker: psutil.Process) -> list[Any]:
    """The files in which a worker counts."""
    return [file for file in worker.open_files() if re.search("(counter|histogram)_[0-9]+.db$", file.path)]


@pytest.mark.slow  # it lets Gunicorn replace its workers
def test_requests_add_up_over_all_workers_that_ever_ran(own_api: Api) -> None:
    api = own_api
    ask(api, 30)
    assert live_requests(api) == 30
    [folder] = {Path(file.path).parent for worker in api.workers() for file in counts_of(worker)}

    for _ in range(3):
        killed = api.workers()[0]
        killed.kill()
        wait_until(partial(is_replaced, api, killed), what="a new worker")
        ask(api, 10)
    assert live_requests(api) == 60, "also those of workers that were killed"
    assert 0 < len(list(folder.iterdir())) <= 2 * PROCESSES, "they leave no files"

    before = {worker.pid for worker in api.workers()}
    api.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: len(api.workers()) == PROCESSES and not before & {w.pid for w in api.workers()},
        what="new workers after the reload",
    )
    ask(api, 30)
    assert live_requests(api) == 90, "also those from before a reload"
    count = value(api, "http_request_duration_seconds_count", method="GET", route="/health/live")
    assert count == 90

    api.process.terminate()
    api.process.wait(60)
    assert not folder.exists(), "a stop leaves no folder"


@pytest.mark.slow  # a hand-over between two scrapes
def test_in_development_it_reports_what_the_running_code_has_counted(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with running_development_api(tmp_path, environment["REDIS_URL"], environment["DATABASE_URL"]) as api:
        ask(api, 3)
        assert live_requests(api) == 3
        old = api.ask("/version").json()["code"]
        (tmp_path / "src" / "added.py").write_text("ADDED = True\n")
        wait_until(lambda: api.ask("/version").json()["code"] != old, what=api.output.read_text())
        ask(api, 1)
        assert live_requests(api) == 1


def test_clients_make_no_new_labels(api: Api) -> None:
    for number in range(5):
        api.ask(f"/nowhere/{number}")
    assert value(api, "http_requests_total", method="GET", route="(unmatched)", status="404") == 5
    assert not any("nowhere" in text for _, labels in samples(api) for pair in labels for text in pair)


def test_without_redis_it_reports_the_rest(client: TestClient) -> None:
    with settings_read_again(REDIS_URL="redis://127.0.0.1:1/0"):
        client.get("/health/live")
        found = read(client.get("/metrics"))
    labels = {"method": "GET", "route": "/health/live", "status": "200"}
    assert found["redis_up", frozenset()] == 0
    assert found["http_requests_total", frozenset(labels.items())] >= 1


def test_a_redis_that_hangs_delays_it_only_briefly(api: Api, redis_url: str) -> None:
    pid = int(Redis.from_url(redis_url).info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        # Prometheus gives up a scrape after ten seconds.
        assert value(api, "redis_up") == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert value(api, "redis_up") == 1


def test_jobs_queues_and_workers_are_counted_by_function_outcome_state_and_code(
    api: Api, workers: Workers
) -> None:
    workers.enqueue("note", 1)
    assert value(api, "queue_jobs", queue="default", state="queued") == 1
    workers.start()
    workers.enqueue("note", 2, tries=2)
    workers.enqueue("missing", tries=3)
    workers.enqueue("die")
    expected = {
        ("note", "finished"): 2,
        ("missing", "retried"): 2,
        ("missing", "failed"): 1,
        ("die", "failed"): 1,
    }
    wait_until(lambda: ended_jobs(api) == expected, what=f"{expected}, not {ended_jobs(api)}")
    assert value(api, "redis_up") == 1
    assert value(api, "queue_jobs", queue="default", state="failed") == 2
    assert value(api, "queue_jobs", queue="default", state="queued") == 0
    [worker] = workers.registered()
    assert value(api, "workers", state="idle", code=worker["code"]) == 1
    workers.enqueue("wait_for_word", 3)
    workers.wait_for_begun(3)
    assert value(api, "workers", state="busy", code=worker["code"]) == 1
    assert value(api, "queue_jobs", queue="default", state="started") == 1
    workers.redis.set("end", 1)
    wait_until(lambda: exhausted(workers))


def test_buckets_hold_every_job_and_grow(api: Api, workers: Workers) -> None:
    workers.start()
    workers.enqueue("note", 1, 0.2)
    workers.enqueue("note", 2)
    wait_until(lambda: ended_jobs(api) == {("note", "finished"): 2}, what="both jobs")
    found = samples(api)
    buckets = {
        dict(labels)["le"]: number
        for (name, labels), number in found.items()
        if name == "job_duration_seconds_bucket"
    }
    assert buckets["0.1"] == 1
    assert buckets["0.5"] == buckets["+Inf"] == 2
    assert list(buckets.values()) == sorted(buckets.values())
    [seconds] = [number for (name, _), number in found.items() if name == "job_duration_seconds_sum"]
    assert seconds >= 0.2


@pytest.mark.slow  # a fault drill
def test_a_job_whose_end_cannot_be_counted_still_finishes(workers: Workers) -> None:
    workers.redis.set("metrics:jobs", "no hash")
    workers.start()
    job = workers.enqueue("note", 1)
    wait_until(lambda: exhausted(workers) and job.get_status(refresh=True) == "finished", what=workers.log)
    durations.count(Redis(port=1), "src.probe.jobs.note", "finished", 1.0)  # nobody is there
