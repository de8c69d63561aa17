"""An application with event streams that a test drives: each has a look only when its job reports."""

import threading
from collections import Counter
from typing import Any

from fastapi import APIRouter, HTTPException, Response

from src import progress_manager
from src.kit.web.app import create_app
from src.kit.web.event_stream import stream_changes, stream_state, streams

router = APIRouter()
looks: Counter[str] = Counter()
blocked: list[int] = []
released = threading.Event()


@router.get("/jobs/{job_id}/events")
async def events(job_id: str) -> Response:
    """What a job has reported; 404 if it reported that it is gone."""

    def look() -> dict[str, str]:
        looks[job_id] += 1
        report = progress_manager.get(job_id)
        if report and report.state == "gone":
            raise HTTPException(404, "It is gone.")
        return {"report": report.state if report else "none"}

    news = progress_manager.news(job_id, at_least_every=600)
    return stream_changes(look, news, lambda seen: seen["report"] == "ended", topic=job_id)


@router.get("/state")
async def state() -> Response:
    """Nothing that ever changes, as a page of development follows its code."""
    return stream_state(lambda: "none")


@router.get("/counts")
async def counts() -> dict[str, Any]:
    """How often it has looked, how many streams are open, and how many requests are blocked."""
    return {"looks": looks, "open": streams.by_client.total(), "blocked": len(blocked)}


@router.get("/blocked")
def block() -> None:
    """Take a thread until it is released."""
    blocked.append(1)
    released.wait(60)


@router.get("/release")
async def release() -> None:
    """Release the threads."""
    released.set()


app = create_app("Streams", [router])
