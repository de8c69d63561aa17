"""Jobs that work on a row of the database. The row, not Redis, is the truth: no accepted work is lost."""

import logging
import uuid
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

from rq.exceptions import AbandonedJobError
from rq.job import Job, JobStatus
from sqlalchemy.exc import SQLAlchemyError

from src.kit.queue.enqueue import JobOptions, cancel_job, enqueue, find_job, in_hand, move_behind, sweep
from src.kit.queue.job import timeout_in
from src.kit.redis import REDIS_AWAY, away_reason
from src.kit.settings import get_settings

logger = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=15)
"""How long accepted work may take to reach the queue before a worker enqueues it again."""

SEE_LOG = "the worker's log says more"


class DurableJob:
    """A job that has the id of its row. Calling it runs it in this process."""

    def __init__(
        self,
        function: Callable[[str], None],
        unfinished: Callable[[datetime], Iterable[uuid.UUID]],
        give_up: Callable[[uuid.UUID, str], None],
        options: JobOptions,
        queue_of: Callable[[uuid.UUID], str] | None = None,
    ) -> None:
        self.__doc__ = function.__doc__
        self._function = function
        self._name = f"{function.__module__}.{function.__name__}"
        self._unfinished = unfinished
        self._give_up = give_up
        self._options = options
        self._queue_of = queue_of or (lambda _: options.queue)
        sweep(self.enqueue_lost)

    def __call__(self, row_id: str) -> None:
        """Run the job."""
        self._function(row_id)

    def enqueue(self, row_id: uuid.UUID, *, behind: Collection[str] | None = None) -> None:
        """Enqueue the job of a committed row; while Redis is away or full, a worker does it later.

        Args:
            row_id: the row.
            behind: the ids of the rows that come before it, if it does not go to the end of the queue.
        """
        try:
            id_ = str(row_id)
            queue = self._queue_of(row_id)
            queue = queue if queue in get_settings().rq_queues else self._options.queue
            job = enqueue(
                self._name, id_, queue=queue, job_id=id_, on_failure=_note_failure, options=self._options
            )
            if behind is not None:
                move_behind(job, behind)
        except REDIS_AWAY as error:
            logger.warning("%s %s is stored and will be enqueued later", away_reason(error), row_id)

    def enqueue_again(self, row_id: uuid.UUID) -> None:
        """Enqueue the job of a row that was accepted a while ago, behind those accepted before it."""
        rows = map(str, self._unfinished(datetime.now(UTC)))
        self.enqueue(row_id, behind=set(takewhile(str(row_id).__ne__, rows)))

    def cancel(self, row_id: uuid.UUID) -> None:
        """Cancel or stop the job of a row that is about to be deleted; without a row it must do nothing."""
        with suppress(*REDIS_AWAY):
            if job := find_job(str(row_id)):
                cancel_job(job)

    def fail(self, row_id: str, reason: str) -> None:
        """Mark the row as failed for good."""
        self._give_up(uuid.UUID(row_id), f"The job failed for good: {reason}")

    def enqueue_lost(self) -> None:
        """Enqueue what was accepted and is neither in the queue nor running; Redis may have lost it."""
        at_work, earlier = in_hand(), set[str]()
        for row_id in map(str, self._unfinished(datetime.now(UTC) - PATIENCE)):
            if row_id in at_work:
                earlier.add(row_id)
                continue
            job = find_job(row_id)
            if job and job.get_status(refresh=False) in (
                JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED
            ):  # fmt: skip
                result = job.latest_result()
                lines = ((result and result.exc_string) or "it was stopped").strip().splitlines()
                self.fail(row_id, SEE_LOG if "sqlalche.me" in lines[-1] else lines[-1])
            else:
                logger.warning("%s was lost on its way: enqueued again", row_id)
                self.enqueue(uuid.UUID(row_id), behind=earlier)
                earlier.add(row_id)


def durable_job(
    unfinished: Callable[[datetime], Iterable[uuid.UUID]],
    give_up: Callable[[uuid.UUID, str], None],
    queue_of: Callable[[uuid.UUID], str] | None = None,
    **options: Any,
) -> Callable[[Callable[[str], None]], DurableJob]:
    """Decorator: make a function that works on a row a job, with `enqueue` to be called after the commit.

    The function must be idempotent: it runs again after a crash or the loss of its worker.

    Args:
        unfinished: returns the ids of the rows accepted before a time whose work has not ended, in order.
        give_up: called with a row's id and a reason when the last attempt has failed.
        queue_of: returns the queue of a row's job, by its size for example; the one of the options
            if there is none, or if `RQ_QUEUES` does not have it.
        options: of `JobOptions`, such as `queue="low"`.
    """
    return lambda function: DurableJob(function, unfinished, give_up, JobOptions(**options), queue_of)


def _note_failure(job: Job, _redis: Any, _type: Any, error: BaseException, _trace: Any) -> None:
    """RQ's failure callback: after the last attempt, the row says why. It quotes no database error."""
    if job.retries_left:
        return
    if isinstance(error, AbandonedJobError):
        reason = "its worker died"
    elif timeout_in(error):
        reason = f"it had not ended after {job.timeout} s, its time limit"
    else:
        reason = f"{type(error).__name__}: {SEE_LOG if isinstance(error, SQLAlchemyError) else error}"
    job.func.fail(job.id, reason)
