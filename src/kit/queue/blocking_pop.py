"""Waiting for a job in a way that can be interrupted without losing one."""

from collections.abc import Callable

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.utils import as_text


class BlockingPop:
    """Waits on its own connection to Redis, whose client ID is known, so that `CLIENT UNBLOCK` can end it.

    Redis runs one command at a time: either the job moves to this client, and unblocking does nothing, or the
    client is unblocked, and the job stays in the queue.
    """

    def __init__(self, queue: Queue, seconds: int) -> None:
        """Prepare; it connects at first use.

        Args:
            queue: where the jobs are; they move to RQ's intermediate queue.
            seconds: longest wait.
        """
        self._queue = queue
        self._seconds = seconds
        self._redis: Redis | None = None
        self._waiting_client: int | None = None

    def pop(self, is_wanted: Callable[[], bool]) -> str | None:
        """Take a job's id; None if there was no job, or if none is wanted any longer.

        Args:
            is_wanted: called once an interruption would be noticed, so that none can be missed.

        Raises:
            redis.exceptions.ConnectionError: Redis is away.
        """
        redis = self._connection()
        self._waiting_client = redis.client_id()
        try:
            if not is_wanted():
                return None
            taken = redis.blmove(self._queue.key, self._queue.intermediate_queue_key, self._seconds)
            return as_text(taken) if taken else None
        finally:
            self._waiting_client = None

    def interrupt(self) -> bool:
        """End the wait, from another thread; call it until it returns False, when nobody waits."""
        client = self._waiting_client
        if client is None:
            return False
        self._queue.connection.client_unblock(client)
        return True

    def _connection(self) -> Redis:
        if self._redis is None:
            pool = self._queue.connection.connection_pool
            # A command that is retried on a new connection would wait under another client ID.
            options = pool.connection_kwargs | {
                "retry": Retry(NoBackoff(), 0),
                "retry_on_error": [],
                "socket_timeout": 2 * self._seconds,
            }
            self._redis = Redis(connection_pool=ConnectionPool(pool.connection_class, 1, **options))
        return self._redis
