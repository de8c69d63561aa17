"""The API of the sales feature."""

import json
import uuid
from dataclasses import asdict
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Form, HTTPException, Query, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse

from src import progress_manager
from src.kit.queue.enqueue import forget_job
from src.kit.web.body_limit import too_large
from src.kit.web.event_stream import stream_changes
from src.kit.web.problems import Problem
from src.sales import imports
from src.sales.jobs import run_import
from src.sales.models import GroupBy, SalesImport, Status
from src.sales.schemas import Day, ImportView, Summary
from src.sales.summary import summarize
from src.settings import get_settings

SUMMARIES = CapacityLimiter(4)
"""At once in a process: each may read the whole table, and others need the database, too."""

PROBLEM: dict[str, Any] = {"model": Problem}

router = APIRouter(prefix="/api/v1/sales", tags=["sales"], responses={404: PROBLEM, 422: PROBLEM})


class Upload(BaseModel):
    """A form with a file of sales, and nothing else."""

    model_config = ConfigDict(extra="forbid")

    file: UploadFile = Field(
        description="CSV: comma, semicolon or tab; UTF-8 or Windows-1252.",
        json_schema_extra={"format": "binary"},  # what OpenAPI 3.1 has instead is unknown to many tools
    )


@router.post(
    "/imports",
    status_code=202,
    responses={
        200: {"model": ImportView, "description": "The file was imported before."},
        413: PROBLEM,
        507: PROBLEM,
    },
    form_limits={"max_files": 1, "max_fields": 10, "max_part_size": 4096},
)
def create_import(
    request: Request,
    response: Response,
    upload: Annotated[Upload, Form(media_type="multipart/form-data")],
) -> ImportView:
    """Accept a file of sales: it is stored before this answers, and imported by a worker afterwards."""
    file = upload.file
    if (file.size or 0) > get_settings().max_upload_bytes:
        raise too_large()
    try:
        sales_import, is_new = imports.accept(file.file, file.filename or "")
    except imports.NoRoom:
        most = get_settings().sales_max_waiting_mb
        full = f"With this file, more than {most:,} MiB would be waiting (SALES_MAX_WAITING_MB)."
        fix = "Upload it again when others have finished, or delete some of them."
        raise HTTPException(507, f"{full} {fix}") from None
    if is_new:
        run_import.enqueue(sales_import.id)
    response.status_code = 202 if is_new else 200
    return _located(request, response, sales_import)


@router.get("/imports")
def list_imports(limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[ImportView]:
    """The newest imports, the newest first."""
    return [ImportView.model_validate(row) for row in imports.newest(limit)]


@router.get("/imports/{import_id}")
def get_import(import_id: uuid.UUID) -> ImportView:
    """The state and progress of an import, and what was wrong with its rows."""
    if found := imports.find(import_id):
        return ImportView.model_validate(found)
    raise HTTPException(404, f"There is no import {import_id}.")


@router.post("/imports/{import_id}/retry", status_code=202, responses={409: PROBLEM})
def retry(request: Request, response: Response, import_id: uuid.UUID) -> ImportView:
    """Try a failed import again while its file is kept. A file that can't be read fails again."""
    if (status := get_import(import_id).status) != Status.FAILED:
        raise HTTPException(409, f"It has not failed, it is {status}: there is nothing to retry.")
    forget_job(str(import_id))  # before it waits again: a worker would find the old failure
    if sales_import := imports.retry(import_id):
        run_import.enqueue_again(import_id)
        return _located(request, response, sales_import)
    gone = "its file was deleted (SALES_KEEP_FILES, or to make room) and has to be uploaded again"
    raise HTTPException(409, f"It was retried already, the same file was uploaded again since, or {gone}.")


@router.delete("/imports/{import_id}", status_code=204)
def delete(import_id: uuid.UUID) -> None:
    """Cancel an import if it has not ended, and delete it, its rows and its file."""
    if not imports.fail(import_id, "It is being deleted.", even_ended=True):  # no row counts any more
        raise HTTPException(404, f"There is no import {import_id}.")
    run_import.cancel(import_id)
    imports.remove(import_id)


@router.get("/imports/{import_id}/events", response_class=EventSourceResponse)
async def get_import_events(import_id: uuid.UUID) -> Response:
    """The import as server-sent events of type `progress`, one for each change, until it has ended.

    Events of type `report` are what its job has reported, in rows of the file: `done`, `total` and `state`.
    """

    def look() -> dict[str, str]:
        view = get_import(import_id).model_dump_json()
        report = progress_manager.get(str(import_id))  # after the row, so that the last one is not missed
        return ({"report": json.dumps(asdict(report))} if report else {}) | {"progress": view}

    return stream_changes(
        look,
        progress_manager.news(str(import_id), at_least_every=0.5),
        ended=lambda sent: ImportView.model_validate_json(sent["progress"]).finished_at is not None,
        topic=("import", import_id),
    )


@router.get("/summary")
async def get_summary(
    group_by: GroupBy,
    first: Annotated[Day | None, Query(alias="from", examples=["2010-12-01"])] = None,
    last: Annotated[Day | None, Query(alias="to", examples=["2010-12-31"])] = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Number of groups at most.")] = 1000,
    offset: Annotated[int, Query(ge=0, le=2**31, description="Number of groups to leave out.")] = 0,
) -> Summary:
    """Revenue, orders and units of all finished imports by day, country or product."""
    if first and last and first > last:
        raise HTTPException(422, f"from ({first}) is after to ({last}).")
    return await to_thread.run_sync(summarize, group_by, first, last, limit, offset, limiter=SUMMARIES)


def _located(request: Request, response: Response, sales_import: SalesImport) -> ImportView:
    response.headers["Location"] = request.url_for("get_import", import_id=sales_import.id).path
    return ImportView.model_validate(sales_import)
