"""Waiting for a job on several queues, in a way that can be interrupted without losing one."""

import logging
import select
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue
from rq.utils import as_text

from src.reload.wakeup import Wakeup

logger = logging.getLogger(__name__)

WITHOUT_UNBLOCK = 0.5
"""Longest wait in seconds where Redis refuses to end one."""

_TAKE = """
for i = 1, #KEYS, 2 do
    local job = redis.call('LMOVE', KEYS[i], KEYS[i + 1], 'LEFT', 'RIGHT')
    if job then return {(i + 1) / 2, job} end
end
"""

PUT_BACK = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 1 then redis.call('LPUSH', KEYS[2], ARGV[1]) end
"""
"""Moves a job from an intermediate queue to the front of its queue, unless it has left since."""


class BlockingPop:
    """Takes jobs from queues in the order of their priority, each into RQ's intermediate queue.

    RQ waits on several queues with BLPOP, which loses the job if the worker dies in that moment; BLMOVE loses
    none, but waits on one queue. So there is one connection for each queue. Redis runs one command at a time:
    either a job moves to this client, and `CLIENT UNBLOCK` does nothing, or the client is unblocked, and the
    job stays in its queue.
    """

    def __init__(self, redis: Redis, interrupt: Wakeup) -> None:
        """Prepare; it connects at first use.

        Args:
            redis: the client whose connections are used.
            interrupt: ends a wait when it is set.
        """
        self._redis = redis
        self._longest = float("inf")
        self._interrupt = interrupt
        self._take = redis.register_script(_TAKE)
        self._put_back = redis.register_script(PUT_BACK)
        self._is_checked = False

    def pop(self, queues: Sequence[Queue], seconds: float | None) -> tuple[str, Queue] | None:
        """Take a job, and return its id and queue; None if there was none, or if the wait was interrupted.

        Args:
            queues: the queues by priority.
            seconds: longest wait; None to not wait.

        Raises:
            redis.exceptions.ConnectionError: Redis is away. A job that was taken in this moment is put back
                by the maintenance.
        """
        taken = self._take([key for queue in queues for key in (queue.key, queue.intermediate_queue_key)])
        if taken:
            return as_text(taken[1]), queues[int(taken[0]) - 1]
        if not seconds or self._interrupt.wait(0):
            return None
        if not self._is_checked:
            self._check_unblock()
        return self._wait(queues, min(seconds, self._longest))

    def _check_unblock(self) -> None:
        """Find out whether Redis allows `CLIENT UNBLOCK`; services that manage Redis may refuse it."""
        try:
            self._redis.client_unblock(0)
        except ResponseError as error:
            logger.info("Redis refuses CLIENT UNBLOCK (%s): waiting in steps of %s s", error, WITHOUT_UNBLOCK)
            self._longest = WITHOUT_UNBLOCK
        self._is_checked = True

    def _wait(self, queues: Sequence[Queue], seconds: float) -> tuple[str, Queue] | None:
        connections: list[Any] = []
        try:
            for _ in queues:  # one by one, so that those that were got are given back if one can't be
                connections.append(self._redis.connection_pool.get_connection())  # noqa: PERF401
            clients = [_block(*pair, seconds) for pair in zip(connections, queues, strict=True)]
            poll = select.poll()
            for each in (self._interrupt, *(connection._sock for connection in connections)):
                poll.register(each, select.POLLIN)
            poll.poll((seconds + 1) * 1000)
            if self._longest != WITHOUT_UNBLOCK:
                with self._redis.pipeline(transaction=False) as pipeline:
                    for client in clients:
                        pipeline.client_unblock(client)
                    pipeline.execute()
            replies = [connection.read_response() for connection in connections]
        except BaseException:
            for connection in connections:
                connection.disconnect()
            raise
        finally:
            for connection in connections:
                self._redis.connection_pool.release(connection)
        found = [(as_text(job), queue) for job, queue in zip(replies, queues, strict=True) if job]
        for job, queue in found[1:]:
            self._put_back([queue.intermediate_queue_key, queue.key], [job])
        return found[0] if found else None


def _block(connection: Any, queue: Queue, seconds: float) -> int:
    """Let a connection wait for a job of a queue; returns the client ID of the connection."""
    connection.send_command("CLIENT", "ID")
    client = int(connection.read_response())
    # Not sent along: its reply might be read together with the ID, and the poll would never see it.
    connection.send_command("BLMOVE", queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT", seconds)
    return client
