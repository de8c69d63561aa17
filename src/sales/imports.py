"""An import from the upload to its last row, as the database sees it.

Every step is one transaction. An attempt to run an import carries a number, and each later step holds only
while that number is still the row's: a job that was given up for dead and wakes up again changes nothing.
"""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, BinaryIO

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from src.kit.database.engine import transaction
from src.sales import totals
from src.sales.importer import RejectedRow, SalesRow
from src.sales.models import SalesImport, SalesImportChunk, SalesLine, Status

CHUNK_BYTES = 256 * 1024
MAX_ERRORS = 100


class Superseded(Exception):  # noqa: N818  (an outcome, not an error)
    """Another attempt has taken over this import."""


def accept(file: BinaryIO, filename: str) -> tuple[SalesImport, bool]:
    """Store an uploaded file and the row that stands for it, committed when this returns.

    Args:
        file: the file, positioned anywhere; it is read in chunks.
        filename: the client's name for it; only its last part is kept.

    Returns:
        The import, and whether it is new: the same bytes give the same import again, unless that one failed.
    """
    file.seek(0)
    digest = _sha256(file)
    if existing := _find_same(digest):
        return existing, False
    try:
        return _store(file, filename, digest), True
    except IntegrityError:
        # The same file came in twice at the same time; the other one was first.
        if existing := _find_same(digest):
            return existing, False
        raise


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while data := file.read(CHUNK_BYTES):
        digest.update(data)
    return digest.hexdigest()


def _find_same(digest: str) -> SalesImport | None:
    with transaction() as session:
        return session.scalar(
            select(SalesImport).where(SalesImport.sha256 == digest, SalesImport.status != Status.FAILED)
        )


def _store(file: BinaryIO, filename: str, digest: str) -> SalesImport:
    size = file.seek(0, 2)
    file.seek(0)
    name = "".join(c for c in PurePath(filename.replace("\\", "/")).name if c.isprintable())[:255]
    with transaction() as session:
        sales_import = SalesImport(filename=name if name.strip(" .") else "unnamed", size=size, sha256=digest)
        session.add(sales_import)
        session.flush()
        number = 0
        while data := file.read(CHUNK_BYTES):
            session.execute(
                insert(SalesImportChunk).values(import_id=sales_import.id, number=number, data=data)
            )
            number += 1
    return sales_import


def find(import_id: uuid.UUID) -> SalesImport | None:
    """The import under this id, or None."""
    with transaction() as session:
        return session.get(SalesImport, import_id)


def newest(limit: int) -> Sequence[SalesImport]:
    """The newest imports, the newest first."""
    with transaction() as session:
        return session.scalars(
            select(SalesImport).order_by(SalesImport.created_at.desc(), SalesImport.id).limit(limit)
        ).all()


def unfinished(before: datetime) -> Sequence[SalesImport]:
    """Imports accepted before this time that have neither finished nor failed, the oldest first."""
    with transaction() as session:
        return session.scalars(
            select(SalesImport)
            .where(SalesImport.status.in_([Status.QUEUED, Status.RUNNING]), SalesImport.created_at < before)
            .order_by(SalesImport.created_at)
        ).all()


class Attempt:
    """One try to run an import. Every method but `chunks` raises Superseded once another try has begun."""

    def __init__(self, import_id: uuid.UUID) -> None:
        """Begin: take the import over, and drop the rows that an earlier try left.

        Raises:
            Superseded: the import has finished or failed, or there is none.
        """
        self.import_id = import_id
        with transaction() as session:
            number = session.scalar(
                update(SalesImport)
                .where(SalesImport.id == import_id, SalesImport.status.in_([Status.QUEUED, Status.RUNNING]))
                .values(
                    attempt=SalesImport.attempt + 1,
                    status=Status.RUNNING,
                    started_at=func.coalesce(SalesImport.started_at, datetime.now(UTC)),
                    rows_total=None,
                    rows_done=0,
                    rows_rejected=0,
                    errors=[],
                )
                .returning(SalesImport.attempt)
            )
            if number is None:
                raise Superseded
            self._number = number
            session.execute(delete(SalesLine).where(SalesLine.import_id == import_id))

    def chunks(self) -> Iterator[bytes]:
        """The uploaded file from its beginning, a chunk at a time."""
        number = 0
        while True:
            with transaction() as session:
                data = session.scalar(
                    select(SalesImportChunk.data).where(
                        SalesImportChunk.import_id == self.import_id, SalesImportChunk.number == number
                    )
                )
            if data is None:
                return
            yield data
            number += 1

    def set_total(self, rows: int) -> None:
        """Say how many rows the file has."""
        with transaction() as session:
            self._update(session, rows_total=rows)

    def store(self, rows: Sequence[SalesRow], rejected: Sequence[RejectedRow]) -> None:
        """Store a batch of rows and count it, in one transaction."""
        with transaction() as session:
            errors = self._update(
                session,
                rows_done=SalesImport.rows_done + len(rows),
                rows_rejected=SalesImport.rows_rejected + len(rejected),
            )
            if rejected and len(errors) < MAX_ERRORS:
                more = [{"line": r.line, "column": r.column, "reason": r.reason} for r in rejected]
                self._update(session, errors=(errors + more)[:MAX_ERRORS])
            if rows:
                session.execute(insert(SalesLine), [_line(self.import_id, row) for row in rows])

    def finish(self) -> None:
        """Declare the import finished and count it in; its file is no longer needed.

        Raises:
            UnreadableFile: the sales add up to more than can be counted exactly.
        """
        with transaction() as session:
            totals.wait_for_turn(session)
            self._update(session, status=Status.FINISHED, finished_at=datetime.now(UTC))
            totals.add(session, self.import_id)
            session.execute(delete(SalesImportChunk).where(SalesImportChunk.import_id == self.import_id))

    def fail(self, reason: str) -> None:
        """Declare that the file can't be imported, however often it is tried; none of its rows stay."""
        with transaction() as session:
            error = {"line": 1, "column": None, "reason": reason}
            self._update(
                session,
                status=Status.FAILED,
                reason=reason,
                rows_done=0,
                errors=[error],
                finished_at=datetime.now(UTC),
            )
            session.execute(delete(SalesLine).where(SalesLine.import_id == self.import_id))

    def _update(self, session: Any, **values: Any) -> list[dict[str, Any]]:
        """Change the row while this attempt is the current one; returns the row's errors."""
        errors: list[dict[str, Any]] | None = session.scalar(
            update(SalesImport)
            .where(SalesImport.id == self.import_id, SalesImport.attempt == self._number)
            .where(SalesImport.status == Status.RUNNING)
            .values(**values)
            .returning(SalesImport.errors)
        )
        if errors is None:
            raise Superseded
        return errors


class NotFailed(Exception):  # noqa: N818  (an outcome, not an error)
    """The import has not failed, so there is nothing to retry."""


class ImportedMeanwhile(Exception):  # noqa: N818  (an outcome, not an error)
    """The same file was uploaded again after this import had failed, and that import did not fail."""


def retry(import_id: uuid.UUID) -> SalesImport:
    """Have a failed import wait for its job again; its file is still there.

    Raises:
        NotFailed: it waits, runs or has finished, or there is none.
        ImportedMeanwhile: another import of the same bytes has taken its place.
    """
    try:
        with transaction() as session:
            sales_import: SalesImport | None = session.scalar(
                update(SalesImport)
                .where(SalesImport.id == import_id, SalesImport.status == Status.FAILED)
                .values(
                    status=Status.QUEUED,
                    reason=None,
                    errors=[],
                    rows_total=None,
                    rows_done=0,
                    rows_rejected=0,
                    started_at=None,
                    finished_at=None,
                )
                .returning(SalesImport)
            )
    except IntegrityError as error:
        raise ImportedMeanwhile from error
    if sales_import is None:
        raise NotFailed
    return sales_import


def give_up(import_id: uuid.UUID, reason: str) -> None:
    """Declare an import failed whose job has used up its tries; its file stays, for another try."""
    with transaction() as session:
        session.execute(
            update(SalesImport)
            .where(SalesImport.id == import_id, SalesImport.status.in_([Status.QUEUED, Status.RUNNING]))
            .values(status=Status.FAILED, reason=reason[:500], finished_at=datetime.now(UTC))
        )


def _line(import_id: uuid.UUID, row: SalesRow) -> dict[str, Any]:
    return {
        "import_id": import_id,
        "line": row.line,
        "invoice": row.invoice,
        "stock_code": row.stock_code,
        "description": row.description,
        "quantity": row.quantity,
        "unit_price": row.unit_price,
        "revenue": row.quantity * row.unit_price,
        "invoiced_at": row.invoiced_at,
        "day": row.invoiced_at.date(),
        "customer_id": row.customer_id,
        "country": row.country,
    }
