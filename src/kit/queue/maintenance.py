"""Recovers within a minute what a dead worker left behind.

RQ itself looks every ten minutes, holds its lock for fifteen, and fails a job that was on its way from the
queue to its worker.
"""

import logging
from collections.abc import Callable

from redis import Redis
from rq import Queue, worker_registration
from rq.group import Group
from rq.job import JobStatus
from rq.registry import clean_registries
from rq.utils import as_text

logger = logging.getLogger(__name__)

INTERVAL = 10
"""Seconds between two rounds, whichever worker does them."""

LONGEST_ROUND = 30
"""Seconds after which a round counts as lost, with its worker."""

STRANDED_AFTER = 15
"""Seconds that a job may take from the queue to its worker; it takes milliseconds, unless the worker died."""

_PUT_BACK = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 1 then redis.call('LPUSH', KEYS[2], ARGV[1]) end
"""


def run_round(queue: Queue, worker: str, sweep: Callable[[], None]) -> None:
    """Recover what dead workers left behind, unless another worker has just done so.

    Args:
        queue: the queue to look after.
        worker: name of the worker that does it.
        sweep: called at the end of the round.

    Raises:
        redis.exceptions.ConnectionError: Redis is away; the next round does it.
    """
    redis: Redis = queue.connection
    lock = f"rq:maintenance:{queue.name}"
    if not redis.set(lock, worker, nx=True, ex=LONGEST_ROUND):
        return
    clean_registries(queue)
    worker_registration.clean_worker_registry(queue)
    Group.clean_registries(connection=redis)
    put_back_stranded_jobs(queue)
    sweep()
    redis.expire(lock, INTERVAL - 1)


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
            job = queue.fetch_job(job_id)
            if job and job.get_status() == JobStatus.QUEUED:
                logger.warning("Job %s was on its way to a worker that died: put back into the queue", job_id)
                redis.eval(_PUT_BACK, 2, queue.intermediate_queue_key, queue.key, job_id)
            else:
                queue.intermediate_queue.remove(job_id)
            redis.hdel(seen_key, job_id)
