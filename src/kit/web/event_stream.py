"""Server-sent events that end when the server stops, so that no open page delays a stop or a reload."""

import signal
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
from sqlalchemy.exc import SQLAlchemyError
from sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

RECONNECT = 200
"""Milliseconds until a browser connects again, such as to the code that took over."""

PACE = 0.2
"""Seconds between two looks, at least."""


def stream_changes(
    look: Callable[[], Mapping[str, str]],
    ticks: AsyncIterable[Any] | None = None,
    ended: Callable[[Mapping[str, str]], bool] = lambda _: False,
) -> EventSourceResponse:
    """Stream what a function returns: one event for each of its names, whenever the data has changed.

    Args:
        look: returns the data of each event by its name. It is called in a thread; while the database is
            away, the next call may find it again. An HTTPException, such as 404, ends the stream.
        ticks: says when to look, at least every second or so; by default, every second.
        ended: whether nothing more will change.
    """
    leaving = anyio.Event()

    async def events() -> AsyncIterator[ServerSentEvent]:
        sent: dict[str, str] = {}
        async for _ in ticks or _every_second(leaving):
            if leaving.is_set():
                return
            with suppress(SQLAlchemyError):
                try:
                    seen = await run_in_threadpool(look)
                except HTTPException:
                    return
                for name, data in seen.items() - sent.items():
                    sent[name] = data
                    yield ServerSentEvent(data, event=name, retry=RECONNECT)
                if ended(sent):
                    return
            await anyio.sleep(PACE)

    return EventSourceResponse(events(), shutdown_event=leaving, shutdown_grace_period=2)


async def _every_second(leaving: anyio.Event) -> AsyncIterator[None]:
    while True:
        yield
        with anyio.move_on_after(1 - PACE):
            await leaving.wait()


def stream_state(look: Callable[[], Any]) -> EventSourceResponse:
    """Stream what a quick function returns, as JSON, whenever it changes, until this server hands over.

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

    return EventSourceResponse(events(), shutdown_event=anyio.Event(), shutdown_grace_period=2)
