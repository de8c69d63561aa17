"""The job that runs an import, and the sweep that enqueues what was lost."""

import logging
import uuid
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from rq.exceptions import AbandonedJobError
from rq.job import Job, JobStatus
from sqlalchemy.exc import SQLAlchemyError

from src import progress_manager
from src.kit.queue import enqueue as job_queue
from src.kit.redis import REDIS_AWAY
from src.sales import imports
from src.sales.imports import Attempt, Superseded
from src.sales.models import SalesImport
from src.sales.rows import SalesRow
from src.sales.sales_file import SalesFile, UnreadableFile
from src.sales.schemas import RowError
from src.settings import get_settings

logger = logging.getLogger(__name__)

BATCH_ROWS = 1000
"""Rows in a transaction, after which progress is reported."""

PATIENCE = timedelta(seconds=15)
"""How long an accepted import may take to reach the queue before the sweep takes care of it."""

SEE_LOG = "the worker's log says more"


def enqueue_import(import_id: uuid.UUID) -> None:
    """Enqueue the job of an accepted import, which has its id; if Redis is away, the sweep does it later."""
    try:
        job_queue.enqueue(run_import, str(import_id), job_id=str(import_id), on_failure=note_failure)
    except REDIS_AWAY:
        logger.warning("Redis is away: import %s is stored and will be enqueued later", import_id)


def retry_import(import_id: uuid.UUID) -> SalesImport | None:
    """Run a failed import again; None if it can't be retried. While Redis is away, it raises."""
    job_queue.forget_job(str(import_id))  # before it waits again: the sweep would see the old failure
    if sales_import := imports.retry(import_id):
        enqueue_import(import_id)
    return sales_import


def run_import(import_id: str) -> None:
    """Job: store the rows of an import's file. Running it again gives the same rows."""
    try:
        attempt = Attempt(uuid.UUID(import_id))
        try:
            _run(import_id, attempt)
        except UnreadableFile as error:
            attempt.fail(str(error))
            progress_manager.report(import_id, 0, None, "failed")
            logger.info("Import %s failed: %s", import_id, error)
    except Superseded:
        logger.info("Import %s is done already, or another job has taken it over", import_id)


def _run(import_id: str, attempt: Attempt) -> None:
    file = SalesFile(attempt.chunks)
    total = file.count_rows(get_settings().sales_max_rows)
    attempt.set_total(total)
    progress_manager.report(import_id, 0, total)
    rows, done = file.rows(), 0
    while batch := list(islice(rows, BATCH_ROWS)):
        attempt.store(
            [row for row in batch if isinstance(row, SalesRow)],
            [row for row in batch if isinstance(row, RowError)],
        )
        done += len(batch)
        progress_manager.report(import_id, done, total)
    attempt.finish()
    progress_manager.report(import_id, done, total, "finished")
    logger.info("Import %s finished: %d rows", import_id, total)


def note_failure(job: Job, _redis: Any, _type: Any, error: BaseException, _trace: Any) -> None:
    """RQ's failure callback: after the last try, the import fails with the error as its reason."""
    if job.retries_left:
        return
    if isinstance(error, AbandonedJobError):
        _give_up(job.id, "its worker died")
    else:  # the text of a database error quotes the statement
        text = SEE_LOG if isinstance(error, SQLAlchemyError) else str(error)
        _give_up(job.id, f"{type(error).__name__}: {text}")


def _give_up(import_id: str, error: str) -> None:
    imports.give_up(uuid.UUID(import_id), f"The job failed for good: {error}")
    progress_manager.report(import_id, 0, None, "failed")


@job_queue.sweep
def enqueue_lost_imports() -> None:
    """Enqueue imports that are neither queued nor running, so that a flushed Redis loses nothing."""
    in_hand = job_queue.in_hand()
    for import_id in imports.unfinished(before=datetime.now(UTC) - PATIENCE):
        if str(import_id) in in_hand:
            continue
        job = job_queue.find_job(str(import_id))
        if job and job.get_status(refresh=False) in (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED):
            result = job.latest_result()
            lines = ((result and result.exc_string) or "it was stopped").strip().splitlines()
            _give_up(job.id, SEE_LOG if "sqlalche.me" in lines[-1] else lines[-1])
        else:
            logger.warning("Import %s was lost on its way: enqueued again", import_id)
            enqueue_import(import_id)
