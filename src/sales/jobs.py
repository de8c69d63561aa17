"""The job that runs an import."""

import logging
import uuid
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from src import progress_manager
from src.kit.queue.durable import durable_job
from src.kit.queue.every import every
from src.sales import imports
from src.sales.imports import Attempt, Superseded
from src.sales.sales_file import SalesFile, UnreadableFile
from src.sales.schemas import RowError
from src.settings import get_settings

logger = logging.getLogger(__name__)

BATCH_ROWS = 500  # in a transaction, after which progress is reported


def give_up(import_id: uuid.UUID, reason: str, **more: Any) -> None:
    """Let an import fail, and say so to whoever watches its progress."""
    if imports.fail(import_id, reason, **more):
        progress_manager.report(str(import_id), 0, None, "failed")
        logger.info("Import %s failed: %s", import_id, reason)


@durable_job(imports.unfinished, give_up, imports.queue_of)
def run_import(import_id: str) -> None:
    """Job: store the rows of an import's file. Running it again gives the same rows."""
    try:
        _run(import_id, Attempt(uuid.UUID(import_id)))
    except UnreadableFile as error:
        give_up(uuid.UUID(import_id), str(error), errors=[{"line": 1, "column": None, "reason": str(error)}])
    except Superseded:
        logger.info("Import %s is done already, or another job has taken it over", import_id)


@every(hours=1)
def delete_old_files() -> None:
    """Job: delete the files of imports that failed `SALES_KEEP_FILES` ago; a retry would have needed them."""
    kept = timedelta(seconds=get_settings().sales_keep_files)
    if number := imports.delete_files(datetime.now(UTC) - kept):
        logger.info("Deleted the files of %d imports that failed long ago", number)


def _run(import_id: str, attempt: Attempt) -> None:
    file, limit = SalesFile(attempt.chunks), get_settings().sales_max_rejected_rows
    total = file.count_rows(get_settings().sales_max_rows)
    progress_manager.report(import_id, 0, total)
    rows, done, rejected = file.rows(), 0, 0
    while batch := list(islice(rows, BATCH_ROWS)):
        attempt.store(batch, total)
        done += len(batch)
        rejected += sum(isinstance(row, RowError) for row in batch)
        if rejected > limit:
            read = f"reading stopped after {done:,} of {total:,} rows, of which {rejected:,} were rejected"
            fix = "Correct the rows, or raise SALES_MAX_REJECTED_ROWS."
            give_up(uuid.UUID(import_id), f"More than {limit:,} rows are rejected: {read}. {fix}")
            return
        progress_manager.report(import_id, done, total)
    attempt.finish(total)
    progress_manager.report(import_id, done, total, "finished")
    logger.info("Import %s finished: %d rows", import_id, total)
