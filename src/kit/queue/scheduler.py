"""Enqueues what is due: jobs of `enqueue_in` and `enqueue_at`, retries that wait, and schedules."""

import contextlib
import logging
import threading
from functools import partial

from redis import Redis, WatchError
from redis.client import Pipeline
from rq import Queue
from rq.job import Job
from rq.scheduler import RQScheduler
from rq.scripts import acquire_or_refresh_lock, release_lock
from rq.utils import as_text, current_timestamp

from src.kit.queue import every
from src.kit.queue.job import fetch_or_fail
from src.kit.redis import REDIS_AWAY
from src.reload.wakeup import Wakeup

logger = logging.getLogger(__name__)

PACE = 1.0
"""Seconds between two looks."""

LOCK = 15
"""Seconds after which another worker takes over from one that died."""

CHUNK = 100
"""Jobs of a queue that one look enqueues at most."""


class Scheduler:
    """RQ's scheduler as a thread of each worker, of which one is at work for each queue.

    RQ's own is a process that nobody starts again if it dies. Its lock lasts for a minute, and it enqueues
    a job twice if it was held up until another one took over. This one enqueues in transactions that fail
    unless its lock still holds. It uses RQ's locks, so both may run side by side.
    """

    def __init__(self, name: str, queues: list[Queue], redis: Redis, stop: Wakeup) -> None:
        """Prepare; `start` runs it.

        Args:
            name: the owner of the locks, which is the worker's name.
            queues: whose jobs it enqueues.
            redis: the client.
            stop: ends it when it is set.
        """
        self._name = name
        self._queues = queues
        self._redis = redis
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Look every second, until the stop."""
        self._thread.start()

    def join(self) -> None:
        """Wait until another worker may take over; call it after the stop."""
        self._thread.join(timeout=5)

    def run_once(self) -> None:
        """Enqueue what is due now, where no other worker does it."""
        for queue in self._queues:
            if self._leads(queue.name):
                self._enqueue_due(queue)
        if self._leads(every.KEY):
            every.enqueue_due(self._redis, partial(self._watch, every.KEY))

    def _run(self) -> None:
        while not self._stop.wait(PACE):
            try:
                self.run_once()
            except (*REDIS_AWAY, WatchError):  # the next look finds what is still due
                continue
            except Exception:
                logger.exception("The scheduler failed; it tries again")
        with contextlib.suppress(*REDIS_AWAY):
            for name in (*(queue.name for queue in self._queues), every.KEY):
                release_lock(self._redis, _lock(name), self._name)

    def _leads(self, name: str) -> bool:
        return acquire_or_refresh_lock(self._redis, _lock(name), self._name, LOCK) != "taken"

    def _watch(self, name: str, pipeline: Pipeline, *keys: str) -> None:
        """Let the pipeline's transaction fail if the lock is lost before its end, or if a key changes."""
        pipeline.watch(_lock(name), *keys)  # type: ignore[no-untyped-call]
        if as_text(pipeline.get(_lock(name)) or b"") != self._name:
            raise WatchError(f"another worker schedules {name}")

    def _enqueue_due(self, queue: Queue) -> None:
        registry = queue.scheduled_job_registry
        for job_id in registry.get_jobs_to_schedule(current_timestamp(), chunk_size=CHUNK):
            with self._redis.pipeline() as pipeline:
                self._watch(queue.name, pipeline, Job.key_for(job_id))
                job = fetch_or_fail(queue, job_id)
                pipeline.multi()
                registry.remove(job_id, pipeline=pipeline)
                if job and job.has_rate_limit:
                    queue._enqueue_rate_limited_job(job, pipeline, job.should_enqueue_at_front())
                elif job:
                    queue._enqueue_job(job, pipeline, job.should_enqueue_at_front())
                pipeline.execute()


def _lock(name: str) -> str:
    return str(RQScheduler.get_locking_key(name))
