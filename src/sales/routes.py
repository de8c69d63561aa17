"""The API of the sales feature."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated

import anyio
from fastapi import APIRouter, File, HTTPException, Query, Request, Response, UploadFile
from sse_starlette import EventSourceResponse, JSONServerSentEvent
from starlette.concurrency import run_in_threadpool

from src.kit.web.body_limit import too_large
from src.kit.web.problems import Problem
from src.progress_manager import news
from src.sales import imports
from src.sales.jobs import enqueue_accepted, retry_import
from src.sales.models import GroupBy, SalesImport, Status
from src.sales.schemas import ImportView, Summary
from src.sales.summary import summarize
from src.settings import get_settings

router = APIRouter(prefix="/api/v1/sales", tags=["sales"])

EVENTS_A_SECOND = 5

LONGEST_SILENCE = 0.5
"""Seconds after which the stream looks by itself, at the import and whether the server shuts down."""


@router.post(
    "/imports",
    status_code=202,
    responses={
        200: {"model": ImportView, "description": "The same file was imported before, or is about to be."},
        413: {"model": Problem, "description": "The file is larger than MAX_UPLOAD_MB."},
    },
    form_limits={"max_files": 1, "max_fields": 10, "max_part_size": 4096},
)
def create_import(
    request: Request,
    response: Response,
    file: Annotated[UploadFile, File(description="CSV: comma, semicolon or tab; UTF-8 or Windows-1252.")],
) -> ImportView:
    """Accept a file of sales: it is stored before this answers, and imported by a worker afterwards."""
    if (file.size or 0) > get_settings().max_upload_bytes:
        raise too_large()
    sales_import, is_new = imports.accept(file.file, file.filename or "")
    if is_new:
        enqueue_accepted(sales_import.id)
    else:
        response.status_code = 200
    response.headers["Location"] = _path_of(request, sales_import)
    return ImportView.model_validate(sales_import)


@router.get("/imports")
def list_imports(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[ImportView]:
    """The newest imports, the newest first."""
    return [ImportView.model_validate(row) for row in imports.newest(limit)]


@router.get("/imports/{import_id}", responses={404: {"model": Problem}})
def get_import(import_id: uuid.UUID) -> ImportView:
    """One import: its state, how far it is, and what was wrong with its rows."""
    return ImportView.model_validate(_found(import_id))


@router.post(
    "/imports/{import_id}/retry",
    status_code=202,
    responses={404: {"model": Problem}, 409: {"model": Problem, "description": "It can't be retried."}},
)
def retry(request: Request, response: Response, import_id: uuid.UUID) -> ImportView:
    """Try a failed import again: its file was kept. A file that can't be read fails again."""
    try:
        sales_import = retry_import(import_id)
    except imports.NotFailed:
        status = _found(import_id).status
        raise HTTPException(409, f"It has not failed, it is {status}: there is nothing to retry.") from None
    except imports.ImportedMeanwhile:
        reason = "The same file was uploaded again since, and that import has not failed."
        raise HTTPException(409, reason) from None
    response.headers["Location"] = _path_of(request, sales_import)
    return ImportView.model_validate(sales_import)


@router.get(
    "/imports/{import_id}/events",
    response_class=EventSourceResponse,
    responses={404: {"model": Problem}, 200: {"content": {"text/event-stream": {}}}},
)
async def get_import_events(import_id: uuid.UUID) -> EventSourceResponse:
    """The import as server-sent events of type `progress`, one whenever it changes, until it has ended."""
    await run_in_threadpool(_found, import_id)
    leaving = anyio.Event()
    return EventSourceResponse(
        _events(import_id, leaving), shutdown_event=leaving, shutdown_grace_period=LONGEST_SILENCE + 1
    )


async def _events(import_id: uuid.UUID, leaving: anyio.Event) -> AsyncIterator[JSONServerSentEvent]:
    sent = None
    async for _ in news(str(import_id), at_least_every=LONGEST_SILENCE):
        if leaving.is_set():
            return  # the server shuts down: the client comes again
        view = ImportView.model_validate(await run_in_threadpool(_found, import_id))
        if view != sent:
            yield JSONServerSentEvent(view.model_dump(mode="json"), event="progress")
            sent = view
        if view.status in (Status.FINISHED, Status.FAILED):
            return
        await asyncio.sleep(1 / EVENTS_A_SECOND)


@router.get("/summary", responses={422: {"model": Problem}})
def get_summary(
    group_by: GroupBy,
    first: Annotated[
        date | None, Query(alias="from", description="First day.", examples=["2010-12-01"])
    ] = None,
    last: Annotated[date | None, Query(alias="to", description="Last day.", examples=["2010-12-31"])] = None,
    limit: Annotated[int | None, Query(ge=1, le=100_000, description="Groups at the most.")] = None,
) -> Summary:
    """Revenue, orders and units of all finished imports by day, country or product."""
    if first and last and first > last:
        raise HTTPException(422, f"from ({first}) is after to ({last}).")
    return summarize(group_by, first, last, limit)


def _path_of(request: Request, sales_import: SalesImport) -> str:
    return str(request.url_for("get_import", import_id=sales_import.id).path)


def _found(import_id: uuid.UUID) -> SalesImport:
    if found := imports.find(import_id):
        return found
    raise HTTPException(404, f"There is no import {import_id}.")
