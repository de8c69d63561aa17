"""Connections to Postgres that do not wait for ever for a server that keeps silent."""

from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from src.kit import limits

T = TypeVar("T")


class Connection(psycopg.Connection[Any]):
    """psycopg's connection with a limit on each answer.

    Neither TCP nor `statement_timeout` helps when the server is there but does not run, such as a container
    that is paused or a machine that swaps: the kernel goes on acknowledging what is sent to it.
    """

    answer_timeout: ClassVar[float | None] = limits.DATABASE_ANSWER
    """Seconds, None for no limit."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for an answer; a connection on which it did not come is closed.

        Raises:
            psycopg.OperationalError: the answer did not come in time.
        """
        try:
            return super().wait(gen, interval, self.answer_timeout if timeout is None else timeout)
        except BaseException:  # also what a signal handler raises, such as the end of a job's time
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise

    def rollback(self) -> None:
        """Roll back; on a closed connection nothing is left to, and an error would hide why it was closed."""
        if not self.closed:
            super().rollback()
