"""Connections to Postgres that don't wait forever for a server that does not answer."""

from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from src.kit import limits

T = TypeVar("T")


class Connection(psycopg.Connection[Any]):
    """psycopg's connection with a time limit on each answer.

    Neither TCP nor `statement_timeout` helps if the server exists but does not run, as in a paused container
    or on a swapping machine: its kernel still acknowledges what is sent.
    """

    answer_timeout: ClassVar[float | None] = limits.DATABASE_ANSWER
    """Seconds, None for no limit."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer, and close the connection if it does not arrive.

        Raises:
            psycopg.OperationalError: the answer did not arrive in time.
        """
        try:
            return super().wait(gen, interval, self.answer_timeout if timeout is None else timeout)
        except BaseException:  # including those of signal handlers, such as the job timeout
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise

    def rollback(self) -> None:
        """Roll back, unless the connection is closed: an error would hide why."""
        if not self.closed:
            super().rollback()
