"""Recovers within a minute what a dead worker left behind.

RQ itself looks every ten minutes, holds its lock for fifteen, and fails a job that was on its way from the
queue to its worker.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from rq import Queue, worker_registration
from rq.group import Group
from rq.job import Job, JobStatus
from rq.registry import clean_registries
from rq.utils import as_text, current_timestamp

from src.kit.queue.blocking_pop import PUT_BACK
from src.kit.queue.job import fetch_or_fail
from src.kit.redis import REDIS_AWAY

logger = logging.getLogger(__name__)

INTERVAL = 10
"""Seconds between two rounds, whichever worker does them."""

LONGEST_ROUND = 30
"""Seconds after which a round counts as lost, with its worker."""

STRANDED_AFTER = 15
"""Seconds that a job may take from the queue to its worker; it takes milliseconds, unless the worker died."""


def run_round(
    queues: Sequence[Queue],
    worker: str,
    sweep: Callable[[], None],
    exception_handlers: list[Callable[..., Any]] | None = None,
) -> None:
    """Recover what dead workers left behind, unless another worker has just done so.

    Args:
        queues: the queues to look after.
        worker: name of the worker that does it.
        sweep: called at the end of the round.
        exception_handlers: of the worker, for jobs whose worker died.

    Raises:
        redis.exceptions.ConnectionError: Redis is away; the next round does it.
    """
    redis: Redis = queues[0].connection
    for queue in queues:
        with _once(redis, queue.name, worker) as is_mine:
            if is_mine:
                drop_unreadable_jobs(queue)
                clean_registries(queue, exception_handlers)
                worker_registration.clean_worker_registry(queue)
                put_back_stranded_jobs(queue)
    with _once(redis, "sweep", worker) as is_mine:
        if is_mine:
            Group.clean_registries(connection=redis)
            sweep()


@contextmanager
def _once(redis: Redis, what: str, worker: str) -> Iterator[bool]:
    """Whether this worker does this part of the round; a failure is logged, and the next part goes on."""
    lock = f"rq:maintenance:{what}"
    is_mine = bool(redis.set(lock, worker, nx=True, ex=LONGEST_ROUND))
    try:
        yield is_mine
    except REDIS_AWAY:
        raise
    except Exception:
        logger.exception("Maintenance of %s failed; the next round tries again", what)
    if is_mine:
        redis.expire(lock, INTERVAL - 1)


def drop_unreadable_jobs(queue: Queue) -> None:
    """Note jobs of dead workers that can't be read as failed: RQ's maintenance would stop at them."""
    started = queue.started_job_registry
    entries: list[bytes] = queue.connection.zrangebyscore(started.key, 0, current_timestamp())  # type: ignore[assignment]
    for entry in entries:
        if not fetch_or_fail(queue, started.parse_job_id(entry)):
            queue.connection.zrem(started.key, entry)


def put_back_stranded_jobs(queue: Queue) -> None:
    """Put jobs back into the queue whose worker died between taking and beginning them.

    They are only in RQ's intermediate queue. A job passes through it in milliseconds, so the worker of a job
    that stays there for several rounds is dead.
    """
    redis: Redis = queue.connection
    seen_key = f"{queue.intermediate_queue_key}:seen"
    now = float(redis.time()[0])
    waiting = set(queue.intermediate_queue.get_job_ids())
    seen = {as_text(key): float(value) for key, value in redis.hgetall(seen_key).items()}
    if gone := seen.keys() - waiting:
        redis.hdel(seen_key, *gone)
    for job_id in waiting:
        if job_id in queue.started_job_registry:
            continue
        if job_id not in seen:
            redis.hset(seen_key, job_id, now)
        elif now - seen[job_id] >= STRANDED_AFTER:
            # The status alone: it is there even if the job can't be read.
            if redis.hget(Job.key_for(job_id), "status") == JobStatus.QUEUED.encode():
                logger.warning("Job %s was on its way to a worker that died: put back into the queue", job_id)
                redis.eval(PUT_BACK, 2, queue.intermediate_queue_key, queue.key, job_id)
            else:
                queue.intermediate_queue.remove(job_id)
            redis.hdel(seen_key, job_id)
