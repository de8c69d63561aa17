"""One worker that stays free, so that what is urgent never waits for the end of long jobs."""

import logging

from redis import Redis
from redis.client import Pipeline
from rq import Queue
from rq.scripts import acquire_or_refresh_lock, release_lock

logger = logging.getLogger(__name__)


class Spare:
    """The place of the one worker that takes no job from its last queue while others serve that queue, too.

    Only a worker that is about to wait for a job can get it. It keeps it during jobs from other queues.
    """

    def __init__(self, worker: str, queues: list[Queue], redis: Redis, seconds: int) -> None:
        """Prepare; nobody has the place yet.

        Args:
            worker: its name.
            queues: its queues by priority; with one queue, no worker is spare.
            redis: the client.
            seconds: how long the place is kept without a sign of life.
        """
        self._worker, self._queues, self._redis, self._seconds = worker, queues, redis, seconds
        self._lock = f"rq:spare:{queues[-1].name if queues else ''}"
        self._has_place = self._is_free = False

    def served(self, queues: list[Queue]) -> list[Queue]:
        """Of these queues, those that the worker may take a job from now."""
        last, was_free = self._queues[-1].name, self._is_free
        self._has_place = len(self._queues) > 1 and (
            acquire_or_refresh_lock(self._redis, self._lock, self._worker, self._seconds) != "taken"
        )
        self._is_free = self._has_place and self._redis.scard(f"rq:workers:{last}") > 1
        if self._is_free and not was_free:
            logger.info("Worker %s stays free of jobs in %s, which other workers take", self._worker, last)
        return [queue for queue in queues if not (self._is_free and queue.name == last)]

    def keep(self, pipeline: Pipeline) -> None:
        """Keep the place while a job is running."""
        if self._has_place:
            pipeline.expire(self._lock, self._seconds)

    def give_up(self) -> None:
        """Leave the place to another worker."""
        if self._has_place:
            release_lock(self._redis, self._lock, self._worker)
            self._has_place = False
