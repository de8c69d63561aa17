"""The queue, and how a job gets into it."""

import importlib
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from rq import Callback, Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import as_text

from src.kit import request_id
from src.kit.queue.job import RobustJob
from src.kit.redis import get_redis
from src.kit.running import SRC
from src.kit.settings import get_settings

logger = logging.getLogger(__name__)

_sweeps: list[Callable[[], None]] = []


@lru_cache
def get_queue() -> Queue:
    """The queue. Arguments travel as JSON, so nothing that comes from Redis is ever unpickled."""
    return Queue(
        get_settings().rq_queue,
        connection=get_redis(),
        serializer=JSONSerializer,
        job_class=RobustJob,
        default_timeout=get_settings().job_timeout,
    )


def enqueue(function: Callable[..., Any], *args: Any, job_id: str, on_failure: Callable[..., Any]) -> Job:
    """Put a job into the queue, to be tried again when it crashes. It goes on with the request's id.

    Args:
        function: the job; it must be idempotent, since a crash or a lost worker runs it again.
        args: its arguments, as JSON can carry them.
        job_id: the job's id; a job that waits or runs under this id is replaced.
        on_failure: called with RQ's arguments of a failure callback when the last try failed.

    Raises:
        redis.exceptions.ConnectionError: Redis is away; a sweep has to enqueue the work later.
    """
    settings = get_settings()
    return get_queue().enqueue(
        function,
        *args,
        job_id=job_id,
        retry=Retry(max=settings.job_retries) if settings.job_retries else None,
        on_failure=Callback(on_failure),
        meta={"request_id": request_id.current() or request_id.new()},
        result_ttl=3600,
        failure_ttl=7 * 24 * 3600,
    )


def request_of(job: Job) -> str:
    """The id of the request that led to a job; the job's own where it was enqueued by other means."""
    return str(job.meta.get("request_id") or job.id)


def find_job(job_id: str) -> Job | None:
    """The job under this id, or None where Redis knows none."""
    return get_queue().fetch_job(job_id)


def forget_job(job_id: str) -> None:
    """Take what is known about an ended job away, so that nobody takes it for what comes under its id.

    Raises:
        redis.exceptions.ConnectionError: Redis is away.
    """
    if job := find_job(job_id):
        job.delete()


def in_hand() -> set[str]:
    """The ids of all jobs that wait in the queue, are on their way to a worker, or run.

    What a job's hash says about its status does not tell: the job may have been enqueued again since.
    """
    queue = get_queue()
    with queue.connection.pipeline(transaction=True) as pipeline:  # none is missed on its way
        pipeline.lrange(queue.key, 0, -1)
        pipeline.lrange(queue.intermediate_queue_key, 0, -1)
        pipeline.zrange(queue.started_job_registry.key, 0, -1)
        waiting, on_their_way, running = pipeline.execute()
    return {
        *map(as_text, waiting),
        *map(as_text, on_their_way),
        *map(queue.started_job_registry.parse_job_id, running),
    }


def sweep(function: Callable[[], None]) -> Callable[[], None]:
    """Decorator: have the workers call this now and then, one worker at a time.

    For work that was accepted and got lost on its way: the function looks for it and enqueues it again.
    """
    _sweeps.append(function)
    return function


def run_sweeps() -> None:
    """Call every registered sweep; one that fails is logged and keeps none of the others from running.

    What is enqueued again gets a new request id: the sweep's, which is in the lines that tell about it.
    """
    for function in _sweeps:
        request_id.use(request_id.new())
        try:
            function()
        except Exception:
            logger.exception("Sweep %s.%s failed", function.__module__, function.__name__)
    request_id.use(None)


def import_jobs() -> None:
    """Import every feature's `jobs` module, so that a forked job finds its code loaded."""
    for path in sorted(SRC.glob("*/jobs.py")):
        importlib.import_module(f"{SRC.name}.{path.parent.name}.jobs")
