"""Server-sent events that end when the server stops, so that no open page delays a stop or a reload.

Streams of one topic share one look at the data, and a process looks at one topic at a time: a thousand open
pages cost the database no more than one.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import Context
from typing import Any

import anyio
from sqlalchemy.exc import SQLAlchemyError
from sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from src.kit.web.at_once import AtOnce

logger = logging.getLogger(__name__)

RECONNECT = 200
"""Milliseconds until a browser connects again, such as to the code that took over."""

PACE = 0.2
"""Seconds between two looks at a topic, at least."""

REST = 0.005
"""Seconds between two looks of a process, at least, however many topics it has."""

SPREAD = 0.0005
"""Seconds for each stream that a change wakes, so that other requests get their turn."""

GRACE = 2
"""Seconds in which a stream ends at a stop; then it is cut off."""

_looking = anyio.Lock()
_topics: dict[Hashable, "_Topic"] = {}
streams = AtOnce("event streams", "max_streams")


def stream_changes(
    look: Callable[[], Mapping[str, str]],
    ticks: AsyncGenerator[Any, None] | None = None,
    ended: Callable[[Mapping[str, str]], bool] = lambda _: False,
    topic: Hashable = None,
) -> Response:
    """Stream what a function returns: one event for each of its names, whenever the data has changed.

    If the first look fails, its error is the response. Beyond `MAX_STREAMS` and `MAX_STREAMS_PER_CLIENT` the
    response is 503 or 429.

    Args:
        look: returns the data of each event by its name. It is called in a thread; while the database is
            away, the next call may find it again. An HTTPException, such as 404, ends the stream.
        ticks: says when to look, at least every second or so; by default, every second.
        ended: whether nothing more will change.
        topic: streams of the same topic share the first one's `look`, `ticks` and `ended`. It has to contain
            all that the data depends on, such as a user; None shares nothing.
    """
    return _SharedStream(object() if topic is None else topic, look, ticks, ended)


class _SharedStream(Response):
    """The response: it is counted, and follows its topic, while it is being sent."""

    def __init__(self, topic: Hashable, *looking: Any) -> None:
        super().__init__(media_type="text/event-stream")
        self._topic, self._looking = topic, looking

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with streams.counted(scope):
            topic = _topics.get(self._topic) or _Topic(self._topic, *self._looking)
            with topic.joined() as wakeup:
                await topic.looked.wait()
                if topic.problem:
                    raise topic.problem
                await EventSourceResponse(
                    _events(topic, wakeup),
                    shutdown_event=topic,  # type: ignore[arg-type]  # it has the one method that is called
                    shutdown_grace_period=GRACE,
                )(scope, receive, send)


async def _events(topic: "_Topic", wakeup: asyncio.Event) -> AsyncIterator[ServerSentEvent]:
    """What a client has not got yet, whenever it is woken."""
    sent: dict[str, str] = {}
    while True:
        wakeup.clear()
        is_last = topic.is_over
        for name, data in topic.seen.items() - sent.items():
            sent[name] = data
            yield ServerSentEvent(data, event=name, retry=RECONNECT)
        if is_last:
            return
        await wakeup.wait()


class _Topic:
    """What some streams show: a task looks at it until the last of them has ended."""

    def __init__(
        self,
        key: Hashable,
        look: Callable[[], Mapping[str, str]],
        ticks: AsyncGenerator[Any, None] | None,
        ended: Callable[[Mapping[str, str]], bool],
    ) -> None:
        self.seen: dict[str, str] = {}
        self.looked = asyncio.Event()
        self.problem: Exception | None = None  # of the first look
        self.is_over = False
        self._key, self._look, self._ticks, self._ended = key, look, ticks or _every_second(), ended
        self._wakeups: set[asyncio.Event] = set()
        _topics[key] = self
        self._task = asyncio.create_task(self._watch(), context=Context())  # it belongs to no request

    @contextmanager
    def joined(self) -> Iterator[asyncio.Event]:
        """Follow the topic; the value is set when something has changed."""
        wakeup = asyncio.Event()
        self._wakeups.add(wakeup)
        try:
            yield wakeup
        finally:
            self._wakeups.remove(wakeup)
            if not self._wakeups:
                self.set()

    def set(self) -> None:
        """End the topic and its streams; sse-starlette calls it for each of them when the server stops."""
        if not self.is_over:
            self._close()
            self._task.cancel()
            for wakeup in self._wakeups:
                wakeup.set()

    def _close(self) -> None:
        self.is_over = True
        self.looked.set()
        if _topics.get(self._key) is self:
            del _topics[self._key]

    async def _watch(self) -> None:
        try:
            async with aclosing(self._ticks) as ticks:
                async for _ in ticks:
                    changed = await self._changed()
                    if self._ended(self.seen):
                        return
                    await asyncio.sleep(PACE + (self._wake() if changed else 0))
        except Exception as error:
            self.problem = error
            if self.looked.is_set() and not isinstance(error, HTTPException):
                logger.exception("The event streams of %s end", self._key)
        finally:
            self._close()
            self._wake()

    async def _changed(self) -> bool:
        """Look at the data: whether it has changed. While the database is away, it has not."""
        try:
            async with _looking:
                changes = (await run_in_threadpool(self._look)).items() - self.seen.items()
                await asyncio.sleep(REST)
        except SQLAlchemyError:
            if self.looked.is_set():
                return False
            raise
        self.seen.update(changes)
        self.looked.set()
        return bool(changes)

    def _wake(self) -> float:
        """Wake the streams one after the other; returns how many seconds that takes."""
        for number, wakeup in enumerate(self._wakeups):
            asyncio.get_running_loop().call_later(number * SPREAD, wakeup.set)
        return SPREAD * len(self._wakeups)


async def _every_second() -> AsyncGenerator[None, None]:
    while True:
        yield
        await asyncio.sleep(1 - PACE)


class _CountedStream(EventSourceResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with streams.counted(scope):
            await super().__call__(scope, receive, send)


def stream_state(look: Callable[[], Any]) -> Response:
    """Stream what a quick function returns, as JSON, whenever it changes, until this server hands over.

    It counts as `stream_changes` does.

    Args:
        look: called in the event loop, many times a second.
    """

    async def events() -> AsyncIterator[ServerSentEvent]:
        sent = None
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)  # as sse-starlette finds it
        while not getattr(server, "should_exit", False):
            if (state := look()) != sent:
                yield JSONServerSentEvent(sent := state)
            await anyio.sleep(0.03)

    return _CountedStream(events(), shutdown_event=anyio.Event(), shutdown_grace_period=GRACE)
