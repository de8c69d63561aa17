"""The jobs of the sales feature."""

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
from src.sales.importer import RejectedRow, SalesFile, SalesRow, UnreadableFile
from src.sales.models import SalesImport, Status

logger = logging.getLogger(__name__)

BATCH_ROWS = 500
"""Rows a transaction, and so between two words of progress."""

PATIENCE = timedelta(seconds=15)
"""How long an accepted import may be on its way into the queue before the sweep looks after it."""

SEE_LOG = "the worker's log says more"

ENDED_BADLY = (JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED)


def enqueue_import(import_id: uuid.UUID) -> None:
    """Put an import into the queue; its job has its id.

    Raises:
        redis.exceptions.ConnectionError: Redis is away; the sweep enqueues the import later.
    """
    job_queue.enqueue(run_import, str(import_id), job_id=str(import_id), on_failure=note_failure)


def retry_import(import_id: uuid.UUID) -> SalesImport:
    """Run a failed import again.

    Raises:
        imports.NotFailed, imports.ImportedMeanwhile: it can't be retried.
        redis.exceptions.ConnectionError: Redis is away, and the import is as it was.
    """
    found = imports.find(import_id)
    if found is None or found.status != Status.FAILED:
        raise imports.NotFailed
    # Before the import waits again: the sweep would take the old job's failure for that of the retry.
    job_queue.forget_job(str(import_id))
    sales_import = imports.retry(import_id)
    enqueue_accepted(import_id)
    return sales_import


def enqueue_accepted(import_id: uuid.UUID) -> None:
    """Enqueue an import that is committed; while Redis is away, the sweep does it later."""
    try:
        enqueue_import(import_id)
    except REDIS_AWAY:
        logger.warning("Redis is away: import %s is stored and will be enqueued later", import_id)


def run_import(import_id: str) -> None:
    """Job: store the rows of an import's file. Running it again gives the same rows."""
    try:
        attempt = imports.Attempt(uuid.UUID(import_id))
        try:
            _run(import_id, attempt)
        except UnreadableFile as error:
            attempt.fail(str(error))
            progress_manager.report(import_id, 0, None, "failed")
            logger.info("Import %s failed: %s", import_id, error)
    except imports.Superseded:
        logger.info("Import %s is done already, or another job has taken it over", import_id)


def _run(import_id: str, attempt: imports.Attempt) -> None:
    file = SalesFile(attempt.chunks)
    total = file.count_rows()
    attempt.set_total(total)
    progress_manager.report(import_id, 0, total)
    done = 0
    rows = file.rows()
    while batch := list(islice(rows, BATCH_ROWS)):
        attempt.store(
            [row for row in batch if isinstance(row, SalesRow)],
            [row for row in batch if isinstance(row, RejectedRow)],
        )
        done += len(batch)
        progress_manager.report(import_id, done, total)
    attempt.finish()
    progress_manager.report(import_id, done, total, "finished")
    logger.info("Import %s finished: %d rows", import_id, total)


def note_failure(
    job: Job, _connection: Any, _type: type[BaseException], error: BaseException, _trace: Any
) -> None:
    """RQ's failure callback: when the last try failed, the import says so."""
    if not job.retries_left:
        _give_up(job.id, _in_public(error))


def _in_public(error: BaseException) -> str:
    if isinstance(error, AbandonedJobError):
        return "its worker died"
    if isinstance(error, SQLAlchemyError):  # it quotes the statement
        return f"{type(error).__name__}; {SEE_LOG}"
    return f"{type(error).__name__}: {error}"


def _give_up(import_id: str, error: str) -> None:
    reason = f"The job failed for good: {error}"
    imports.give_up(uuid.UUID(import_id), reason)
    progress_manager.report(import_id, 0, None, "failed")


@job_queue.sweep
def enqueue_lost_imports() -> None:
    """Enqueue what was accepted and is neither queued nor running, so that a flushed Redis loses nothing."""
    in_hand = job_queue.in_hand()
    for sales_import in imports.unfinished(before=datetime.now(UTC) - PATIENCE):
        if str(sales_import.id) in in_hand:
            continue
        job = job_queue.find_job(str(sales_import.id))
        if job and job.get_status(refresh=False) in ENDED_BADLY:
            result = job.latest_result()
            lines = ((result and result.exc_string) or "it was stopped").strip().splitlines()
            _give_up(job.id, SEE_LOG if "sqlalche.me" in lines[-1] else lines[-1])
        else:
            logger.warning("Import %s was lost on its way: enqueued again", sales_import.id)
            enqueue_import(sales_import.id)
