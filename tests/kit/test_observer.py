"""Each request is counted once: when its answer starts, or when there will be none."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.kit.web import metrics
from src.kit.web.observer import RequestObserver


def counted(path: str) -> dict[str, float]:
    """How many requests to a path were counted, by status."""
    text = bytes(metrics.metrics().body).decode()
    return {
        sample.labels["status"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "http_requests_total" and sample.labels["route"] == path
    }


class Route:
    """The part of a route that the observer reads."""

    def __init__(self, path: str) -> None:
        self.path_format = path


async def ask(app: ASGIApp, path: str, send: Send) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "route": Route(path)}

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await RequestObserver(app)(scope, receive, send)


def test_a_stream_is_counted_when_it_starts_so_that_its_length_is_not_a_duration() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await ended.wait()
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.set()

    async def watch() -> dict[str, float]:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ask(stream, "/stream", send))
            await begun.wait()
            while_it_runs = counted("/stream")
            ended.set()
        return while_it_runs

    begun, ended = asyncio.Event(), asyncio.Event()
    assert asyncio.run(watch()) == {"200": 1}
    assert counted("/stream") == {"200": 1}


def test_a_request_without_an_answer_is_counted_as_499() -> None:
    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    async def send(message: Message) -> None:
        raise AssertionError("nothing is answered")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ask(leave, "/gone", send))
    assert counted("/gone") == {"499": 1}


def test_an_unknown_method_is_counted_as_other() -> None:
    for method in ("BREW", "get", "PROPFIND"):
        metrics.count_request({"method": method, "route": Route("/odd")}, 405, 0.1)
    text = bytes(metrics.metrics().body).decode()
    assert 'http_requests_total{method="other",route="/odd",status="405"} 3.0' in text
    assert "BREW" not in text
