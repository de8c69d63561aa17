"""Jobs: how many small ones a second, and how long one takes from being enqueued to its start."""

import time
from pathlib import Path
from typing import Any

from redis import Redis
from rq import Queue

from bench.measure_worker import BEGAN, ENDED, FIRST_JOB
from bench.plan import Plan
from bench.processes import last_line, running
from bench.results import JobsResult
from bench.venvs import UnavailableError

BACKLOG = 200
"""Jobs that wait while throughput is measured."""


def measure(result: JobsResult, plan: Plan, package: Path, url: str) -> None:
    """One turn of a worker; adds to its result.

    Raises:
        UnavailableError: it can't be measured.
    """
    redis: Redis = Redis.from_url(url)
    redis.flushdb()
    queue = Queue("bench", connection=redis)
    peer, tree = result.peer, package.parent
    log = tree.parent / "jobs.log"
    log.unlink(missing_ok=True)
    command = [url if part == "REDIS" else part for part in peer.command(peer.bin(), 0)]
    with running(command, tree, log, {"REDIS_URL": url, **peer.environment}):
        if _start(queue, redis, FIRST_JOB) is None:
            raise UnavailableError(f"runs no job: {last_line(log)}")
        time.sleep(plan.settle)
        for _ in range(plan.starts):
            seconds = _start(queue, redis, plan.patience)
            if seconds is None:
                raise UnavailableError(f"runs no more jobs: {last_line(log)}")
            result.starts.append(seconds)
            time.sleep(0.05)
        result.rates.append(_rate(queue, redis, plan.throughput))


def _start(queue: Queue, redis: Redis, patience: float) -> float | None:
    began, ended = redis.llen(BEGAN), redis.llen(ENDED)
    enqueued = time.time()
    queue.enqueue("app.jobs.note", 0, 0, result_ttl=60)
    while redis.llen(ENDED) <= ended:
        if time.time() - enqueued > patience:
            return None
        time.sleep(0.002)
    line: Any = redis.lindex(BEGAN, began)
    return float(line.split()[2]) - enqueued


def _rate(queue: Queue, redis: Redis, seconds: float) -> float:
    """Jobs that end in a second, while there always is a next one."""
    done, began = redis.llen(ENDED), time.monotonic()
    while time.monotonic() - began < seconds:
        if (missing := BACKLOG - len(queue)) > BACKLOG / 2:
            job = Queue.prepare_data("app.jobs.note", args=(0, 0), result_ttl=60)
            queue.enqueue_many([job] * missing)
        time.sleep(0.05)
    return float((redis.llen(ENDED) - done) / (time.monotonic() - began))
