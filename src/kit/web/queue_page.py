"""`/queue`, a page for people: queues, jobs, workers and schedules, and what can be done about a job."""

import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.templating import Jinja2Templates
from rq import Queue
from rq.exceptions import InvalidJobOperation
from rq.job import Job
from rq.utils import get_call_string

from src.kit.queue import every
from src.kit.queue.enqueue import all_queue_names, cancel_job, get_queue, get_queues
from src.kit.queue.workers import workers
from src.kit.redis import REDIS_AWAY, get_redis
from src.kit.settings import get_settings
from src.kit.web.event_stream import stream_changes
from src.kit.web.security import PAGE_POLICY

STATES = ("started", "queued", "scheduled", "deferred", "failed", "canceled", "finished")
ACTIONS = dict.fromkeys(STATES[:4], "cancel") | {"failed": "requeue", "stopped": "requeue"}
SHOWN, LONGEST = 50, 4000  # jobs of a queue in one state; characters of a call or a traceback
router = APIRouter(prefix="/queue", include_in_schema=False)
TEMPLATES = Path(__file__).parent / "templates"
templates = Jinja2Templates(TEMPLATES)
templates.env.filters["time"] = lambda seconds: datetime.fromtimestamp(seconds, UTC)


@router.get("")
def queue_page(request: Request) -> Response:
    """Render the page; while Redis is away, it says so."""
    nonce, shown = secrets.token_urlsafe(16), _look()
    context = {"nonce": nonce, "environment": get_settings().environment} | shown
    headers = {"Content-Security-Policy": PAGE_POLICY.format(nonce=nonce)}
    return templates.TemplateResponse(request, "queue.html", context, 200 if shown else 503, headers)


@router.get("/events")
async def queue_events(request: Request) -> Response:
    """Send an open page its new content."""
    main = templates.get_template("queue_main.html")
    topic = ("queue", request.scope.get("root_path"))  # the links on the page depend on it
    return stream_changes(lambda: {"main": main.render(request=request, **_look())}, topic=topic)


@router.post("/jobs/{job_id}/{action}")
def change_job(request: Request, job_id: str, action: Literal["requeue", "cancel"]) -> Response:
    """Run a failed job again, with the tries that it has left; cancel one that waits, stop one that runs."""
    job = _find(job_id)
    status = job.get_status(refresh=False).value
    if action != ACTIONS.get(status):
        raise HTTPException(409, f"Job {job_id} is {status}, so you can't {action} it.")
    if action == "cancel":
        cancel_job(job)
    else:
        with suppress(InvalidJobOperation):  # somebody was faster
            job.requeue()
    return Response(status_code=303, headers={"Location": request.url_for("queue_page").path})


@router.post("/requeue-failed")
def requeue_failed(request: Request) -> Response:
    """Run all failed jobs again; not those that somebody has stopped, or that can't be read."""
    for job_id in [each for queue in _queues() for each in queue.failed_job_registry.get_job_ids()]:
        with suppress(HTTPException, InvalidJobOperation):
            if (job := _find(job_id)).is_failed:
                job.requeue()
    return Response(status_code=303, headers={"Location": request.url_for("queue_page").path})


def warm_up() -> None:
    """Compile the page and look at the queues once, which the first request would wait for."""
    for name in templates.env.list_templates():
        templates.get_template(name)
    _look()


def _find(job_id: str) -> Job:
    queue = get_queue()  # also has the jobs of others
    try:
        return queue.job_class.fetch(job_id, queue.connection, queue.serializer)
    except REDIS_AWAY:
        raise
    except Exception as error:  # a hash with bad content can raise anything
        raise HTTPException(404, f"Redis has no job {job_id[:80]} that can be read.") from error


def _queues() -> list[Queue]:
    """The queues in the order in which they are served, and those that only Redis knows."""
    served = get_queues()
    names = {queue.name for queue in served}
    return served + [get_queue(name) for name in all_queue_names(get_redis()) if name not in names]


def _look() -> dict[str, Any]:
    """What the page shows, with a bounded number of jobs; nothing while Redis is away."""
    with suppress(*REDIS_AWAY):
        queues = _queues()
        return {
            "states": {state: [_list(queue, state) for queue in queues] for state in STATES},
            "schedules": every.read(get_redis()),
            "workers": workers(),
        }
    return {}


def _list(queue: Queue, state: str) -> tuple[str, int, list[dict[str, Any]]]:
    """A queue's name, how many of its jobs are in this state, and the next ones to run, or the newest."""
    if state == "queued":
        ids, total = queue.get_job_ids(0, SHOWN), queue.count
    else:
        registry = getattr(queue, f"{state}_job_registry")
        ids = registry.get_job_ids(0, SHOWN - 1, desc=state != "scheduled", cleanup=False)
        total = registry.get_job_count(cleanup=False)
    with queue.connection.pipeline(transaction=False) as pipeline:
        for job_id in ids:
            pipeline.hgetall(Job.key_for(job_id))
            pipeline.get(f"progress:{job_id}")  # as src.progress_manager keeps it
        stored = pipeline.execute(raise_on_error=False)
    each = zip(ids, stored[::2], stored[1::2], strict=True)
    return queue.name, total, [_job(queue, state, *one) for one in each]


def _job(queue: Queue, state: str, job_id: str, fields: Any, progress: Any) -> dict[str, Any]:
    """What the page shows of a job; its `problem` if it can't be read."""
    shown: dict[str, Any] = {"id": job_id}
    try:
        job = queue.job_class(job_id, queue.connection, queue.serializer)
        job.restore(fields)
        shown |= {"status": job.get_status(refresh=False).value, "retries": job.retries_left}
        at = {"queued": job.enqueued_at, "started": job.started_at}.get(state, job.ended_at) or job.created_at
        shown["at"] = queue.scheduled_job_registry.get_scheduled_time(job) if state == "scheduled" else at
        if state == "failed" and (result := job.latest_result()):
            shown["traceback"] = (result.exc_string or "")[-LONGEST:]
        shown["progress"] = json.loads(progress or "null")
        shown["call"] = (get_call_string(job.func_name, job.args, job.kwargs) or "")[:LONGEST]
    except REDIS_AWAY:
        raise
    except Exception as error:  # noqa: BLE001  (a hash with bad content can raise anything)
        shown["problem"] = f"It can't be read: {error.__cause__ or error!r}"[:200]
    return shown
