"""`GET /metrics` for Prometheus: the API, the queue, the jobs and the workers.

Each process counts its requests; under Gunicorn they all write into one folder (see `gunicorn_conf`), and the
process that is asked adds them up. Everything else is read from Redis at each scrape.
"""

import contextlib
import math
import os
from collections import Counter as Tally
from collections.abc import Iterator
from itertools import accumulate

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from starlette.types import Scope

from src.kit.queue import durations as job_durations
from src.kit.queue.enqueue import all_queue_names
from src.kit.queue.workers import workers
from src.kit.redis import connect

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

UNMATCHED = "(unmatched)"
"""The route of a request that matched none, so that clients can't create label values."""

REDIS_PATIENCE = 1.0
"""Seconds that Redis may take, so that a scrape does not hang with it."""

disable_created_metrics()  # type: ignore[no-untyped-call]

router = APIRouter(tags=["health"])

_here = CollectorRegistry()
_requests = Counter(
    "http_requests_total", "Answered requests.", ["method", "route", "status"], registry=_here
)
_durations = Histogram(
    "http_request_duration_seconds",
    "Time from a request to the start of its answer.",
    ["method", "route"],
    registry=_here,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


def count_request(scope: Scope, status: int, seconds: float) -> None:
    """Count a request when its answer starts, so that its duration excludes that of a stream."""
    method = scope["method"] if scope["method"] in METHODS else "other"
    route = getattr(scope.get("route"), "path_format", UNMATCHED)
    _requests.labels(method, route, str(status)).inc()
    _durations.labels(method, route).observe(seconds)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics() -> Response:
    """Metrics in Prometheus' text format; while Redis is away, only those of the API."""
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry.register(_here)
    registry.register(FromRedis())
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class FromRedis(Collector):
    """The metrics of queues, jobs and workers."""

    def collect(self) -> Iterator[Metric]:
        """Read them; `redis_up` says whether Redis answered."""
        found: list[Metric] = []
        impatient = {"socket_connect_timeout": REDIS_PATIENCE, "socket_timeout": REDIS_PATIENCE}
        with contextlib.suppress(RedisError), connect(**impatient) as redis:
            found = [_queues(redis), _jobs(redis), _workers()]
        yield GaugeMetricFamily("redis_up", "Whether Redis answers.", value=float(bool(found)))
        yield from found


def _queues(redis: Redis) -> Metric:
    family = GaugeMetricFamily("queue_jobs", "Jobs by queue and state.", labels=["queue", "state"])
    wanted = []
    with redis.pipeline(transaction=False) as pipeline:
        for name in all_queue_names(redis):
            queue = Queue(name, connection=redis)
            pipeline.llen(queue.key)
            wanted.append((name, "queued"))
            for state in ("started", "scheduled", "deferred", "failed"):
                pipeline.zcard(getattr(queue, f"{state}_job_registry").key)
                wanted.append((name, state))
        for labels, number in zip(wanted, pipeline.execute(), strict=True):
            family.add_metric(labels, number)
    return family


def _jobs(redis: Redis) -> Metric:
    family = HistogramMetricFamily(
        "job_duration_seconds",
        "Duration of jobs by function and outcome; retried: it failed and runs again.",
        labels=["function", "outcome"],
    )
    for function, outcome, durations in job_durations.read(redis):
        # Including those of other code, which may have had other bounds.
        bounds = sorted({*job_durations.BUCKETS, math.inf, *durations.buckets})
        numbers = accumulate(durations.buckets.get(bound, 0) for bound in bounds)
        buckets = list(zip(map(floatToGoString, bounds), numbers, strict=True))
        family.add_metric([function, outcome], buckets, durations.seconds)
    return family


def _workers() -> Metric:
    family = GaugeMetricFamily("workers", "Workers by state and code.", labels=["state", "code"])
    tally = Tally((worker.state, worker.code or "") for worker in workers())
    for labels, number in sorted(tally.items()):
        family.add_metric(labels, number)
    return family
