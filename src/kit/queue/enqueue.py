"""The queues, and how a job gets into one."""

import logging
import random
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from redis import Redis
from redis.client import Pipeline
from rq import Callback, Queue, Retry
from rq.command import send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import as_text

from src.kit import request_id, tracing
from src.kit.queue.job import RobustJob
from src.kit.redis import get_redis
from src.kit.settings import get_settings

logger = logging.getLogger(__name__)

DEFAULT_QUEUE = "default"

Function = TypeVar("Function", bound=Callable[..., Any])

_MOVE = """
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then return end  -- it has begun
if redis.call('LINSERT', KEYS[1], 'BEFORE', ARGV[2], ARGV[1]) < 1 then
    redis.call('LPUSH', KEYS[1], ARGV[1])  -- that one has begun, and with it all before it
end
"""

_sweeps: list[Callable[[], None]] = []


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOptions:
    """How the jobs of a function run.

    Attributes:
        queue: the queue that they wait in.
        retries: how often a job that crashed is tried again; by default `JOB_RETRIES`.
        backoff: seconds before each further attempt, of which the last counts for all that follow; each time
            is changed at random by up to a fifth, so that jobs that failed together don't return together.
        timeout: seconds that one attempt may take; by default `JOB_TIMEOUT`.
        retry_timeouts: whether a job that ran into this time is tried again, too.
    """

    queue: str = DEFAULT_QUEUE
    retries: int | None = None
    backoff: Sequence[float] = (1, 10, 60)
    timeout: int | None = None
    retry_timeouts: bool = False

    def __post_init__(self) -> None:
        if (self.retries or 0) < 0 or not self.backoff or min(self.backoff) < 0 or (self.timeout or 1) < 1:
            raise ValueError("a job needs retries >= 0, a backoff of seconds >= 0 and a timeout >= 1 second")

    def retry(self) -> Retry | None:
        """RQ's form of the attempts."""
        retries = get_settings().job_retries if self.retries is None else self.retries
        # One for each: RQ counts from the end of the list, and repeats the first of a shorter one.
        backoff = [*self.backoff, *[self.backoff[-1]] * retries][:retries]
        waits = [round(wait * random.uniform(0.8, 1.2)) for wait in backoff]  # noqa: S311
        return Retry(max=retries, interval=waits) if retries else None


def job(**options: Any) -> Callable[[Function], Function]:
    """Decorator: `enqueue` uses these `JobOptions`, such as `@job(retries=5, queue="low")`."""

    def decorate(function: Function) -> Function:
        function.job_options = JobOptions(**options)  # type: ignore[attr-defined]
        return function

    return decorate


@cache
def get_queue(name: str = DEFAULT_QUEUE) -> Queue:
    """The queue of this name. Arguments are stored as JSON, so nothing from Redis is ever unpickled."""
    return Queue(
        name,
        connection=get_redis(),
        serializer=JSONSerializer,
        job_class=RobustJob,
        default_timeout=get_settings().job_timeout,
    )


def get_queues() -> list[Queue]:
    """The queues in `RQ_QUEUES`, in the order in which the workers of this process serve them."""
    return [get_queue(name) for name in get_settings().rq_queues]


def enqueue(
    function: Callable[..., Any] | str,
    *args: Any,
    queue: str | None = None,
    job_id: str | None = None,
    on_failure: Callable[..., Any] | None = None,
    options: JobOptions | None = None,
    pipeline: Pipeline | None = None,
) -> Job:
    """Put a job into its queue; it is retried if it crashes, and logs under the request's id.

    Args:
        function: the job, or its dotted name; it must be idempotent, since it runs again after a crash or
            the loss of its worker.
        args: its arguments, which must be valid JSON.
        queue: the queue, if not the one of the options.
        job_id: the job's id, by default a random one; it replaces a job that waits or runs under this id.
        on_failure: called with the arguments of an RQ failure callback once the last attempt has failed.
        options: by default those of the function's decorator.
        pipeline: makes it part of a transaction.

    Raises:
        ValueError: no worker serves the queue.
        redis.exceptions.ConnectionError: Redis is away; a sweep has to enqueue the work later.
    """
    how = options or getattr(function, "job_options", None) or JobOptions()
    name = queue or how.queue
    served = get_settings().rq_queues
    if name not in served and not get_redis().scard(f"rq:workers:{name}"):
        raise ValueError(f"no worker serves the queue {name!r}: RQ_QUEUES is {','.join(served)}")
    return get_queue(name).enqueue(
        function,  # type: ignore[type-var]
        *args,
        job_id=job_id,
        job_timeout=how.timeout,
        retry=how.retry(),
        on_failure=on_failure and Callback(on_failure),
        meta={"request_id": request_id.current() or request_id.new(), "retry_timeouts": how.retry_timeouts}
        | tracing.of_new_job(function),
        result_ttl=3600,
        failure_ttl=7 * 24 * 3600,
        pipeline=pipeline,
    )


def find_job(job_id: str) -> Job | None:
    """The job with this id, or None if Redis has none."""
    try:
        return RobustJob.fetch(job_id, connection=get_redis(), serializer=JSONSerializer)
    except NoSuchJobError:
        return None


def forget_job(job_id: str) -> None:
    """Delete what Redis knows about a job that has ended, so that nobody mistakes it for the next one.

    Raises:
        redis.exceptions.ConnectionError: Redis is away.
    """
    if job := find_job(job_id):
        job.delete()


def move_behind(job: Job, earlier: Collection[str]) -> None:
    """Move a job that waits to the front of its queue, but behind the jobs with these ids.

    Raises:
        redis.exceptions.ConnectionError: Redis is away.
    """
    queue = get_queue(job.origin)
    if (first := next((each for each in queue.job_ids if each not in earlier), job.id)) != job.id:
        queue.connection.eval(_MOVE, 1, queue.key, job.id, first)


def cancel_job(job: Job) -> None:
    """Cancel a job that waits, stop one that runs; one that has ended stays as it is.

    Raises:
        redis.exceptions.ConnectionError: Redis is away.
    """
    status = job.get_status(refresh=False)
    with suppress(InvalidJobOperation):  # somebody was faster
        if status == JobStatus.STARTED:
            send_stop_job_command(job.connection, job.id, job.serializer)
        elif status in (JobStatus.QUEUED, JobStatus.SCHEDULED, JobStatus.DEFERRED):
            job.cancel()


def in_hand() -> set[str]:
    """The ids of all jobs that are in a queue, on their way to a worker, running, or waiting for a retry.

    The status in a job's hash is not enough: the job may have been enqueued again since.
    """
    queues = [get_queue(name) for name in all_queue_names(get_redis())]
    with get_redis().pipeline(transaction=True) as pipeline:  # a job that moves meanwhile is not missed
        for queue in queues:
            pipeline.lrange(queue.key, 0, -1)
            pipeline.lrange(queue.intermediate_queue_key, 0, -1)
            for registry in (
                queue.started_job_registry, queue.scheduled_job_registry, queue.deferred_job_registry
            ):  # fmt: skip
                pipeline.zrange(registry.key, 0, -1)
        found = pipeline.execute()
    # An entry of a running job has the id of its execution behind a colon.
    return {as_text(entry).partition(":")[0] for entries in found for entry in entries}


def all_queue_names(redis: Redis) -> list[str]:
    """The names of the queues that are served here or known to Redis; other workers may serve those."""
    known = {as_text(key).removeprefix("rq:queue:") for key in redis.smembers("rq:queues")}
    return sorted(known | set(get_settings().rq_queues))


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
