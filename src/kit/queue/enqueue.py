"""The queue, and how a job gets into it."""

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
from src.kit.settings import get_settings

logger = logging.getLogger(__name__)

_sweeps: list[Callable[[], None]] = []


@lru_cache
def get_queue() -> Queue:
    """The queue. Arguments are stored as JSON, so nothing from Redis is ever unpickled."""
    return Queue(
        get_settings().rq_queue,
        connection=get_redis(),
        serializer=JSONSerializer,
        job_class=RobustJob,
        default_timeout=get_settings().job_timeout,
    )


def enqueue(
    function: Callable[..., Any] | str, *args: Any, job_id: str, on_failure: Callable[..., Any]
) -> Job:
    """Put a job into the queue; it is retried if it crashes, and logs under the request's id.

    Args:
        function: the job, or its dotted name; it must be idempotent, since it runs again after a crash or
            the loss of its worker.
        args: its arguments, which must be valid JSON.
        job_id: the job's id; it replaces a job that waits or runs under this id.
        on_failure: called with the arguments of an RQ failure callback once the last attempt has failed.

    Raises:
        redis.exceptions.ConnectionError: Redis is away; a sweep has to enqueue the work later.
    """
    settings = get_settings()
    return get_queue().enqueue(
        function,  # type: ignore[type-var]
        *args,
        job_id=job_id,
        retry=Retry(max=settings.job_retries) if settings.job_retries else None,
        on_failure=Callback(on_failure),
        meta={"request_id": request_id.current() or request_id.new()},
        result_ttl=3600,
        failure_ttl=7 * 24 * 3600,
    )


def find_job(job_id: str) -> Job | None:
    """The job with this id, or None if Redis has none."""
    return get_queue().fetch_job(job_id)


def forget_job(job_id: str) -> None:
    """Delete what Redis knows about a job that has ended, so that nobody mistakes it for the next one.

    Raises:
        redis.exceptions.ConnectionError: Redis is away.
    """
    if job := find_job(job_id):
        job.delete()


def in_hand() -> set[str]:
    """The ids of all jobs that are in the queue, on their way to a worker, or running.

    The status in a job's hash is not enough: the job may have been enqueued again since.
    """
    queue = get_queue()
    with queue.connection.pipeline(transaction=True) as pipeline:  # a job that moves meanwhile is not missed
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
    """Decorator: the workers call this function every few seconds, one worker at a time.

    It finds work that was accepted but is not in the queue, and enqueues it again.
    """
    _sweeps.append(function)
    return function


def run_sweeps() -> None:
    """Call every registered sweep; a failure is logged and does not affect the others.

    Each sweep has its own request id, which the jobs that it enqueues log, too.
    """
    for function in _sweeps:
        request_id.use(request_id.new())
        try:
            function()
        except Exception:
            logger.exception("Sweep %s.%s failed", function.__module__, function.__name__)
    request_id.use(None)
