"""Takes a job from a queue, waiting for one, so that the waiting can be ended without losing a job."""

from collections.abc import Callable

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.utils import as_text


class BlockingPop:
    """Waits in Redis on a connection of its own, whose number is known, so that `CLIENT UNBLOCK` can end it.

    Redis does one thing after the other: either the job moves to this client, and unblocking does nothing, or
    the client is unblocked, and the job stays in the queue.
    """

    def __init__(self, queue: Queue, seconds: int) -> None:
        """Prepare; connects at first use.

        Args:
            queue: where the jobs are; they go to RQ's intermediate queue.
            seconds: how long to wait at most.
        """
        self._queue = queue
        self._seconds = seconds
        self._redis: Redis | None = None
        self._waiting_client: int | None = None

    def pop(self, is_wanted: Callable[[], bool]) -> str | None:
        """Take a job's id; None when there was none, or when it is not wanted any more.

        Args:
            is_wanted: asked once an interruption would be noticed, so that none can be missed.

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
        """End the waiting, from another thread; to be called again until it returns False: nobody waits."""
        client = self._waiting_client
        if client is None:
            return False
        self._queue.connection.client_unblock(client)
        return True

    def _connection(self) -> Redis:
        if self._redis is None:
            pool = self._queue.connection.connection_pool
            # A command that is repeated on a new connection would wait there under another number.
            options = pool.connection_kwargs | {
                "retry": Retry(NoBackoff(), 0),
                "retry_on_error": [],
                "socket_timeout": 2 * self._seconds,
            }
            self._redis = Redis(connection_pool=ConnectionPool(pool.connection_class, 1, **options))
        return self._redis
