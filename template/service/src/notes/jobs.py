"""The job of the notes: it counts their words."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from src.kit.database.engine import transaction
from src.kit.queue.durable import durable_job
from src.notes.models import Note
from src.progress_manager import report


def unfinished(before: datetime) -> Sequence[uuid.UUID]:
    """The notes accepted before this time that still wait for their job."""
    query = select(Note.id).where(Note.created_at < before, Note.words.is_(None), Note.error.is_(None))
    with transaction() as session:
        return session.scalars(query).all()


def give_up(note_id: uuid.UUID, reason: str) -> None:
    """Keep the reason why the job of a note has failed for good."""
    with transaction() as session:
        session.get_one(Note, note_id).error = reason


@durable_job(unfinished, give_up)
def count_words(note_id: str) -> None:
    """Job: count the words of a note. Running it again gives the same number."""
    with transaction() as session:
        note = session.get_one(Note, uuid.UUID(note_id))
        lines = note.text.splitlines()
        for done, _ in enumerate(lines, start=1):
            report(note_id, done, len(lines))
        note.words = sum(len(line.split()) for line in lines)
    report(note_id, len(lines), len(lines), "finished")
