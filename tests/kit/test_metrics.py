"""`/metrics` of a real Gunicorn with several workers, and of real worker processes and their jobs."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
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
from tests.kit.worker_process import Workers, exhausted, workers

__all__ = ["workers"]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
PROCESSES = 3


@pytest.fixture
def api(redis_url: str, tmp_path: Path) -> Iterator[Api]:
    environment = production_environment(redis_url, f"sqlite:///{tmp_path / 'app.db'}")
    with running_api(tmp_path, environment, PROCESSES) as api:
        yield api


def samples(api: Api) -> Samples:
    """What `/metrics` says, as Prometheus' own parser reads it."""
    response = api.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(text_string_to_metric_families(response.text))
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


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
        assert api.get("/health/live").status_code == 200


def is_replaced(api: Api, gone: psutil.Process) -> bool:
    now = api.workers()
    return len(now) == PROCESSES and gone not in now


def counts_of(worker: psutil.Process) -> list[Any]:
    """The files in which a worker counts."""
    return [file for file in worker.open_files() if file.path.endswith(".db")]


def test_requests_add_up_over_all_workers_also_after_one_was_killed_and_after_a_reload(api: Api) -> None:
    ask(api, 30)
    assert live_requests(api) == 30
    killed = api.workers()[0]
    killed.kill()
    wait_until(partial(is_replaced, api, killed), what="a new worker")
    ask(api, 30)
    assert live_requests(api) == 60
    before = {worker.pid for worker in api.workers()}
    api.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: len(api.workers()) == PROCESSES and not before & {w.pid for w in api.workers()},
        what="workers of their own after the reload",
    )
    ask(api, 30)
    assert live_requests(api) == 90
    count = value(api, "http_request_duration_seconds_count", method="GET", route="/health/live")
    assert count == 90


def test_workers_that_come_and_go_leave_no_files_and_a_stop_leaves_no_folder(api: Api) -> None:
    ask(api, 10)
    [folder] = {Path(file.path).parent for worker in api.workers() for file in counts_of(worker)}
    for _ in range(3):
        before = api.workers()
        before[0].kill()
        wait_until(partial(is_replaced, api, before[0]), what="a new worker")
        ask(api, 10)
    assert live_requests(api) == 40
    assert 0 < len(list(folder.iterdir())) <= 2 * PROCESSES
    api.process.terminate()
    api.process.wait(60)
    assert not folder.exists()


def test_in_development_it_tells_what_the_code_at_work_has_counted(redis_url: str, tmp_path: Path) -> None:
    with running_development_api(tmp_path, redis_url, f"sqlite:///{tmp_path / 'app.db'}") as api:
        ask(api, 3)
        assert live_requests(api) == 3
        old = api.get("/version").json()["code"]
        (tmp_path / "src" / "added.py").write_text("ADDED = True\n")
        wait_until(lambda: api.get("/version").json()["code"] != old, what=api.output.read_text())
        ask(api, 1)
        assert live_requests(api) == 1


def test_clients_make_no_new_labels(api: Api) -> None:
    for number in range(5):
        api.get(f"/nowhere/{number}")
    assert value(api, "http_requests_total", method="GET", route="(unmatched)", status="404") == 5
    assert not any("nowhere" in text for _, labels in samples(api) for pair in labels for text in pair)


def test_without_redis_it_tells_the_rest(redis_url: str, tmp_path: Path) -> None:
    environment = production_environment(redis_url, f"sqlite:///{tmp_path / 'app.db'}")
    environment["REDIS_URL"] = environment["REDIS_URL"].rpartition(":")[0] + ":1/0"
    with running_api(tmp_path, environment, 1) as api:
        ask(api, 1)
        assert value(api, "redis_up") == 0
        assert live_requests(api) == 1


def test_a_redis_that_hangs_delays_it_by_a_moment_only(api: Api, redis_url: str) -> None:
    pid = int(Redis.from_url(redis_url).info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        # A scrape is given up after ten seconds.
        assert value(api, "redis_up") == 0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert value(api, "redis_up") == 1


def test_jobs_queues_and_workers_are_told_by_function_outcome_state_and_code(
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


def test_a_job_whose_end_can_not_be_counted_is_finished_all_the_same(workers: Workers) -> None:
    workers.redis.set("metrics:jobs", "no hash")
    workers.start()
    job = workers.enqueue("note", 1)
    wait_until(lambda: exhausted(workers) and job.get_status(refresh=True) == "finished", what=workers.log)
    durations.count(Redis(port=1), "src.probe.jobs.note", "finished", 1.0)  # nobody is there
