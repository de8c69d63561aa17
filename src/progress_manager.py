"""Progress of a job: jobs write it, the API reads it."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import asdict, dataclass

from redis.exceptions import RedisError

from src.kit.redis import REDIS_AWAY, async_redis, away_reason, get_redis

logger = logging.getLogger(__name__)

KEEP_SECONDS = 24 * 3600
"""How long the last report of a job is kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        done: steps done so far.
        total: number of all steps, None if unknown.
        state: what the job is doing, in a word.
    """

    done: int
    total: int | None
    state: str


def report(job_id: str, done: int, total: int | None, state: str = "running") -> None:
    """Report how far a job is. If Redis is away or full, the report is lost; the job goes on."""
    progress = json.dumps(asdict(Progress(done, total, state)))
    try:
        with get_redis().pipeline(transaction=False) as pipeline:
            pipeline.set(_key(job_id), progress, ex=KEEP_SECONDS)
            pipeline.publish(_key(job_id), progress)
            pipeline.execute()
    except REDIS_AWAY as error:
        logger.warning("%s Progress of job %s not reported", away_reason(error), job_id)


def get(job_id: str) -> Progress | None:
    """What a job reported last, None if there is no report or Redis is away."""
    try:
        return _read(get_redis().get(_key(job_id)))
    except REDIS_AWAY:
        return None


async def news(job_id: str, at_least_every: float) -> AsyncGenerator[Progress | None, None]:
    """Yield a job's reports, starting with the last one, and None after a silence, as reports can get lost.

    Of several that arrive at once, it is the newest. Whatever a process follows, it has one subscription.

    Args:
        job_id: the job to follow.
        at_least_every: longest silence in seconds.
    """
    with _following(_key(job_id)) as (newest, subscribed):
        with suppress(TimeoutError):
            await asyncio.wait_for(subscribed.wait(), at_least_every)
        yield await asyncio.to_thread(get, job_id)
        while True:
            report = None
            with suppress(TimeoutError):
                report = await asyncio.wait_for(newest.get(), at_least_every)
            yield _read(report)


class _Listener:
    """The subscription of this process to the reports of all jobs."""

    def __init__(self) -> None:
        self.followers: set[tuple[str, asyncio.Queue[bytes]]] = set()
        self.subscribed = asyncio.Event()
        self.task = asyncio.create_task(self._listen(), context=Context())  # it belongs to no request

    async def _listen(self) -> None:
        """Hand out the reports; while Redis is away, followers only notice a silence."""
        while True:
            with suppress(RedisError):
                async with async_redis() as redis, redis.pubsub() as subscription:
                    await subscription.psubscribe(_key("*"))
                    while True:
                        message = await subscription.get_message(timeout=1)
                        if message and message["type"] == "pmessage":
                            self._hand_out(message["channel"].decode(), message["data"])
                        elif message:
                            self.subscribed.set()
            await asyncio.sleep(1)

    def _hand_out(self, key: str, report: bytes) -> None:
        for wanted, newest in self.followers:
            if wanted == key:
                if newest.full():
                    newest.get_nowait()
                newest.put_nowait(report)


_listener: _Listener | None = None


@contextmanager
def _following(key: str) -> Iterator[tuple["asyncio.Queue[bytes]", asyncio.Event]]:
    """The newest report, and whether it is subscribed. The first follower starts that, the last ends it."""
    global _listener
    listener = _listener = _listener if _listener and not _listener.task.done() else _Listener()
    newest = asyncio.Queue[bytes](1)
    listener.followers.add((key, newest))
    try:
        yield newest, listener.subscribed
    finally:
        listener.followers.remove((key, newest))
        if not listener.followers:
            listener.task.cancel()
            _listener = None


def _read(value: bytes | str | None) -> Progress | None:
    return Progress(**json.loads(value)) if value else None


def _key(job_id: str) -> str:
    return f"progress:{job_id}"
