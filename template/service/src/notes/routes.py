"""The API of the notes."""

import uuid

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from src import progress_manager
from src.kit.database.engine import transaction
from src.notes.jobs import count_words
from src.notes.models import Note
from src.progress_manager import Progress

router = APIRouter(prefix="/api/v1/notes", tags=["notes"])


class NewNote(BaseModel):
    """What a client sends. Postgres does not store NUL characters."""

    text: str = Field(min_length=1, max_length=100_000, pattern=r"^[^\x00]*$")


class NoteView(BaseModel):
    """What a client sees of a note."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    text: str
    words: int | None
    error: str | None
    progress: Progress | None = None


@router.post("", status_code=202)
def create_note(new: NewNote) -> NoteView:
    """Accept a note: it is stored before this answers, and a worker counts its words afterwards."""
    note = Note(text=new.text)
    with transaction() as session:
        session.add(note)
    count_words.enqueue(note.id)  # after the commit: the worker would not find the note before
    return NoteView.model_validate(note)


@router.get("/{note_id}")
def get_note(note_id: uuid.UUID) -> NoteView:
    """A note, its words, and the progress of its job."""
    progress = progress_manager.get(str(note_id))  # first: it must not be newer than the row
    with transaction() as session:
        if note := session.get(Note, note_id):
            return NoteView.model_validate(note).model_copy(update={"progress": progress})
    raise HTTPException(404, f"There is no note {note_id}.")
