"""The job of the notes: it counts their words."""

import logging
import uuid
from typing import Any

from rq.job import Job
from sqlalchemy import select, update

from src import progress_manager
from src.kit.database.engine import transaction
from src.kit.queue import enqueue as job_queue
from src.kit.redis import REDIS_AWAY
from src.notes.models import Note

logger = logging.getLogger(__name__)


def enqueue_note(note_id: uuid.UUID) -> None:
    """Enqueue a committed note; while Redis is away, the sweep does it later."""
    try:
        job_queue.enqueue(count_words, str(note_id), job_id=str(note_id), on_failure=note_failure)
    except REDIS_AWAY:
        logger.warning("Redis is away: note %s is stored and will be enqueued later", note_id)


def count_words(note_id: str) -> None:
    """Job: count the words of a note. Running it again gives the same number."""
    with transaction() as session:
        note = session.get_one(Note, uuid.UUID(note_id))
    lines = note.text.splitlines()
    words = 0
    for done, line in enumerate(lines, start=1):
        words += len(line.split())
        progress_manager.report(note_id, done, len(lines))
    _update(note_id, words=words)
    progress_manager.report(note_id, len(lines), len(lines), "finished")


def note_failure(
    job: Job, _connection: Any, _type: type[BaseException], error: BaseException, _trace: Any
) -> None:
    """RQ's failure callback: after the last try, the note says that its job failed."""
    if not job.retries_left:
        _update(job.id, error=f"The job failed ({type(error).__name__}); the worker's log says more.")


@job_queue.sweep
def enqueue_lost_notes() -> None:
    """Enqueue the notes that were accepted but are neither queued nor running, such as after a lost Redis."""
    with transaction() as session:
        unfinished = session.scalars(select(Note.id).where(Note.words.is_(None), Note.error.is_(None))).all()
    in_hand = job_queue.in_hand()
    for note_id in unfinished:
        if str(note_id) not in in_hand:
            enqueue_note(note_id)


def _update(note_id: str, **values: Any) -> None:
    with transaction() as session:
        session.execute(update(Note).where(Note.id == uuid.UUID(note_id)).values(**values))
