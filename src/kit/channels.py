"""What is published in Redis: a process has one subscription to a pattern, whatever it follows."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context

from redis.exceptions import RedisError

from src.kit.redis import async_redis

_listeners: dict[str, "_Listener"] = {}


@contextmanager
def following(channel: str, pattern: str) -> Iterator[tuple["asyncio.Queue[bytes]", asyncio.Event]]:
    """Follow a channel; the values are its newest message, and whether the pattern is subscribed.

    Args:
        channel: its name, which the pattern matches.
        pattern: what to subscribe to, such as `progress:*`. The first follower starts that, the last ends it.
    """
    listener = _listeners.get(pattern)
    if not listener or listener.task.done():
        listener = _listeners[pattern] = _Listener(pattern)
    newest = asyncio.Queue[bytes](1)
    listener.followers.add((channel, newest))
    try:
        yield newest, listener.subscribed
    finally:
        listener.followers.remove((channel, newest))
        if not listener.followers:
            listener.task.cancel()
            if _listeners.get(pattern) is listener:
                del _listeners[pattern]


class _Listener:
    """A subscription, and who wants its messages."""

    def __init__(self, pattern: str) -> None:
        self.followers: set[tuple[str, asyncio.Queue[bytes]]] = set()
        self.subscribed = asyncio.Event()
        self.task = asyncio.create_task(self._listen(pattern), context=Context())  # it belongs to no request

    async def _listen(self, pattern: str) -> None:
        """Hand out the messages; while Redis is away, followers only notice a silence."""
        while True:
            with suppress(RedisError):
                async with async_redis() as redis, redis.pubsub() as subscription:
                    await subscription.psubscribe(pattern)
                    while True:
                        message = await subscription.get_message(timeout=1)
                        if message and message["type"] == "pmessage":
                            self._hand_out(message["channel"].decode(), message["data"])
                        elif message:
                            self.subscribed.set()
            await asyncio.sleep(1)

    def _hand_out(self, channel: str, message: bytes) -> None:
        for wanted, newest in self.followers:
            if wanted == channel:
                if newest.full():
                    newest.get_nowait()
                newest.put_nowait(message)
