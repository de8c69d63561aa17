"""Imports in the database. Every step is one transaction."""

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from io import SEEK_END
from itertools import count
from pathlib import PurePath
from tempfile import gettempdir
from time import monotonic, sleep
from typing import Any, BinaryIO

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from src.kit.database.engine import get_engine, transaction
from src.sales.models import SalesImport, SalesImportChunk, SalesLine, Status
from src.sales.rows import SalesRow
from src.sales.schemas import RowError
from src.settings import get_settings

CHUNK_BYTES = 256 * 1024
REMOVED = 50_000  # lines in a statement
LARGE = 4  # chunks; a larger file waits until no smaller one does
MAX_ERRORS = 100

_UNFINISHED = SalesImport.status.in_([Status.QUEUED, Status.RUNNING])
_FAILED_FILES = (
    select(SalesImport.id)
    .join(SalesImportChunk)
    .where(SalesImportChunk.number == 0, SalesImport.status == Status.FAILED)
    .order_by(SalesImport.finished_at)
    .with_for_update(of=SalesImport)  # none is retried meanwhile
)
_NOTHING_DONE: dict[str, Any] = {"rows_total": None, "rows_done": 0, "rows_rejected": 0, "errors": []}


class NoRoom(Exception):  # noqa: N818  (an outcome, not an error)
    """With this file, those that wait would exceed `SALES_MAX_WAITING_MB`."""


class Superseded(Exception):  # noqa: N818  (an outcome, not an error)
    """Another attempt has taken over this import, or it has ended."""


def accept(file: BinaryIO, filename: str) -> tuple[SalesImport, bool]:
    """Store an uploaded file, or raise NoRoom. The same bytes give the same import, which isn't new."""
    name = "".join(c for c in PurePath(filename.replace("\\", "/")).name if c.isprintable())[:255]
    size = file.seek(0, SEEK_END)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    try:
        with _turn(size), transaction() as session:
            sales_import = SalesImport(filename=name if name.strip(" .") else "unnamed", sha256=digest)
            session.add(sales_import)
            session.flush()
            _make_room(session, size)
            for number, data in enumerate(iter(lambda: file.read(CHUNK_BYTES), b"")):
                chunk = {"import_id": sales_import.id, "number": number, "data": data}
                session.execute(insert(SalesImportChunk).values(chunk))
        return sales_import, True
    except IntegrityError:  # of uq_sales_imports_sha256
        same = select(SalesImport).where(SalesImport.sha256 == digest, SalesImport.status != Status.FAILED)
        with transaction() as session:
            found = session.scalars(same).one_or_none()
        return (found, False) if found else accept(file, filename)  # it has failed or was deleted since


@contextmanager
def _turn(size: int) -> Iterator[None]:
    """Wait for this file's turn: large files are counted and stored one at a time.

    So they don't exceed the quota together, and leave other requests a share of the machine. After 20
    seconds a file is stored anyway: the database may be slow, or away.
    """
    end, folder = monotonic() + 20, os.open(gettempdir(), os.O_RDONLY)  # all processes have this one
    try:
        while size > LARGE * CHUNK_BYTES and monotonic() < end:
            with suppress(BlockingIOError):
                flock(folder, LOCK_EX | LOCK_NB)
                break
            sleep(0.02)
        yield
    finally:
        os.close(folder)


def _make_room(session: Session, size: int) -> None:
    """Delete the files of failed imports, the oldest first, until this many bytes fit; else raise NoRoom.

    Large files leave a tenth of the room to small ones.
    """
    stored = select(func.coalesce(func.sum(func.length(SalesImportChunk.data)), 0))
    tenths = 9 if size > LARGE * CHUNK_BYTES else 10
    most = get_settings().sales_max_waiting_mb * 1024 * 1024 * tenths // 10
    room = most - size - session.execute(stored).scalar_one()
    if room >= 0:
        return
    for import_id in session.scalars(_FAILED_FILES).all():
        mine = SalesImportChunk.import_id == import_id
        room += session.execute(stored.where(mine)).scalar_one()
        session.execute(delete(SalesImportChunk).where(mine))
        if room >= 0:
            return
    raise NoRoom


def find(import_id: uuid.UUID) -> SalesImport | None:
    """The import with this id, or None."""
    with transaction() as session:
        return session.get(SalesImport, import_id)


def newest(limit: int) -> Sequence[SalesImport]:
    """The newest imports, the newest first."""
    query = select(SalesImport).order_by(SalesImport.created_at.desc(), SalesImport.id)
    with transaction() as session:
        return session.scalars(query.limit(limit)).all()


def unfinished(before: datetime) -> Sequence[uuid.UUID]:
    """The ids of imports accepted before this time that have not ended, the oldest first."""
    query = select(SalesImport.id).where(_UNFINISHED, SalesImport.created_at < before)
    with transaction() as session:
        return session.scalars(query.order_by(SalesImport.created_at)).all()


def queue_of(import_id: uuid.UUID) -> str:
    """The queue for an import: `low` for a large file."""
    with transaction() as session:
        return "low" if session.get(SalesImportChunk, (import_id, LARGE)) else "default"


def retry(import_id: uuid.UUID) -> SalesImport | None:
    """Make a failed import wait again; None if it hasn't failed, its file is deleted, or came again since."""
    fresh = {"status": Status.QUEUED, "reason": None, "started_at": None, "finished_at": None}
    failed = update(SalesImport).where(SalesImport.id == import_id, SalesImport.status == Status.FAILED)
    statement = failed.values(_NOTHING_DONE | fresh).returning(SalesImport)
    with suppress(IntegrityError), transaction() as session:
        waiting = session.scalars(statement).one_or_none()
        if session.get(SalesImportChunk, (import_id, 0)):
            return waiting
        session.rollback()
    return None


def delete_files(before: datetime) -> int:
    """Delete the files of imports that failed before this time; returns how many there were."""
    with transaction() as session:
        ids = session.scalars(_FAILED_FILES.where(SalesImport.finished_at < before)).all()
        session.execute(delete(SalesImportChunk).where(SalesImportChunk.import_id.in_(ids)))
    return len(ids)


def fail(import_id: uuid.UUID, reason: str, *, even_ended: bool = False, **more: Any) -> bool:
    """Mark an import as failed, unless it has ended; its file is kept for a retry."""
    failed = {"status": Status.FAILED, "reason": reason[:500], "finished_at": datetime.now(UTC)}
    which = update(SalesImport).where(SalesImport.id == import_id, _UNFINISHED | even_ended)
    with transaction() as session:
        return session.scalar(which.values(failed | more).returning(SalesImport.id)) is not None


def remove(import_id: uuid.UUID) -> None:
    """Delete an import that has failed, with all that is stored of it."""
    mine = SalesLine.import_id == import_id
    with transaction() as session:
        lines = session.scalar(select(func.max(SalesLine.line)).where(mine)) or 0
    for line in range(0, lines, REMOVED):  # one statement would run into the time limit of requests
        with transaction() as session:
            session.execute(delete(SalesLine).where(mine, SalesLine.line <= line + REMOVED))
    with transaction() as session:
        session.execute(delete(SalesImport).where(SalesImport.id == import_id))


class Attempt:
    """A try to run an import. The newest one counts: an older one, given up for dead, gets Superseded."""

    def __init__(self, import_id: uuid.UUID) -> None:
        self._import_id = import_id
        begun = {"status": Status.RUNNING, "attempt": SalesImport.attempt + 1} | _NOTHING_DONE
        begun["started_at"] = func.coalesce(SalesImport.started_at, datetime.now(UTC))
        take_over = update(SalesImport).where(SalesImport.id == import_id, _UNFINISHED).values(begun)
        with transaction() as session:
            self._number = session.scalar(take_over.returning(SalesImport.attempt))
            if self._number is None:
                raise Superseded
            session.execute(delete(SalesLine).where(SalesLine.import_id == import_id))

    def chunks(self) -> Iterator[bytes]:
        """The uploaded file from its beginning, one chunk at a time."""
        for number in count():
            with transaction() as session:
                chunk = session.get(SalesImportChunk, (self._import_id, number))
            if chunk is None:
                return
            yield chunk.data

    def store(self, batch: Sequence[SalesRow | RowError], total: int) -> None:
        """Store some of all the rows, and the reasons of those that are rejected."""
        lines = [self._line(row) for row in batch if isinstance(row, SalesRow)]
        rejected = [row.model_dump() for row in batch if isinstance(row, RowError)]
        done, bad = SalesImport.rows_done + len(lines), SalesImport.rows_rejected + len(rejected)
        with transaction() as session:
            errors = self._update(session, rows_total=total, rows_done=done, rows_rejected=bad)
            if rejected and len(errors) < MAX_ERRORS:
                self._update(session, errors=[*errors, *rejected][:MAX_ERRORS])
            if lines:
                session.execute(insert(SalesLine), lines)

    def _line(self, row: SalesRow) -> dict[str, Any]:
        # 64 bits of a hash: distinct numbers are counted in a fraction of the time that text takes.
        invoice_hash = hashlib.blake2b(row.invoice.encode(), digest_size=8).digest()
        return vars(row) | {
            "import_id": self._import_id,
            "invoice_hash": int.from_bytes(invoice_hash, signed=True),
            "day": row.invoiced_at.date(),
            "revenue": row.quantity * row.unit_price,
        }

    def finish(self, total: int) -> None:
        """Mark the import as finished, which makes its rows count; its file is no longer needed."""
        finished = {"status": Status.FINISHED, "rows_total": total, "finished_at": datetime.now(UTC)}
        with transaction() as session:
            self._update(session, **finished)
            session.execute(delete(SalesImportChunk).where(SalesImportChunk.import_id == self._import_id))
        if get_engine().dialect.name == "postgresql":
            # Lets summaries read nothing but an index at once, rather than after the next autovacuum.
            with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM (SKIP_LOCKED) sales_lines"))

    def _update(self, session: Session, **values: Any) -> list[dict[str, Any]]:
        """Change the import while this attempt is the current one; returns its errors so far."""
        mine = (SalesImport.id == self._import_id, SalesImport.attempt == self._number)
        statement = update(SalesImport).where(*mine, SalesImport.status == Status.RUNNING).values(values)
        errors: list[dict[str, Any]] | None = session.scalar(statement.returning(SalesImport.errors))
        if errors is None:
            raise Superseded
        return errors
