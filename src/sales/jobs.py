"""The job that runs an import."""

import logging
import uuid
from itertools import islice

from src import progress_manager
from src.kit.queue.durable import durable_job
from src.kit.queue.enqueue import forget_job
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


def give_up(import_id: uuid.UUID, reason: str) -> None:
    """The last attempt has failed."""
    imports.give_up(import_id, reason)
    progress_manager.report(str(import_id), 0, None, "failed")


@durable_job(imports.unfinished, give_up)
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


def retry_import(import_id: uuid.UUID) -> SalesImport | None:
    """Run a failed import again; None if it can't be retried. While Redis is away, it raises."""
    forget_job(str(import_id))  # before it waits again: a worker would find the old failure
    if sales_import := imports.retry(import_id):
        run_import.enqueue(import_id)
    return sales_import
