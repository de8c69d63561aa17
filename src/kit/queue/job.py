"""RQ's job, extended to survive an outage and a crash."""

import logging
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from redis.client import Pipeline
from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.executions import Execution, ExecutionRegistry
from rq.job import Job
from rq.timeouts import JobTimeoutException
from rq.utils import now

from src.kit import limits, tracing
from src.kit.database.engine import is_away
from src.kit.readiness import readiness_problems
from src.kit.redis import REDIS_AWAY

logger = logging.getLogger(__name__)

OUTAGES = 5
"""How many attempts may meet an outage that began during the attempt; a job may be the cause of it."""

KEEP_UNREADABLE = 7 * 24 * 3600
"""Seconds for which a job that can't be read is kept among the failed ones."""


class RobustJob(Job):
    """A job whose attempts don't count if they failed because the database or Redis was away.

    `JOB_RETRIES` is for jobs that crash; an outage would use them up soon. A job that ran into its time limit
    would do so again: it has failed, unless its options have `retry_timeouts`.
    """

    def perform(self) -> Any:
        """Run the job; in an outage, wait a while for its end before the next attempt."""
        outages = int(self.meta.get("outages", 0))
        was_ready = not outages or _wait_for_the_end_of_the_outage()
        try:
            with tracing.span_of(self):
                return super().perform()
        except Exception as error:
            if is_away(error) or isinstance(error, REDIS_AWAY):
                outages += was_ready
                if outages > OUTAGES:
                    raise RuntimeError(
                        f"{outages} attempts ended in an outage: {_first_line(error)}"
                    ) from error
                logger.warning(
                    "Job %s met an outage and will be tried again: %s", self.id, _first_line(error)
                )
                self.meta["outages"] = outages
                self.retries_left = (self.retries_left or 0) + 1
                with suppress(JobTimeoutException):
                    _wait_for_the_end_of_the_outage()
            elif timeout_in(error) and not readiness_problems():
                _give_up(self)
            raise

    @property
    def execution_registry(self) -> ExecutionRegistry:
        return _Executions(self.id, self.connection)

    def retry(self, queue: Queue, pipeline: Pipeline) -> None:
        """Enqueue or schedule the next attempt, all at once: RQ's loses the job if it crashes meanwhile.

        It goes to the front of the queue, since it was there before all that waits.
        """
        self.enqueue_at_front = True
        interval = self.get_retry_interval()
        self.retries_left = (self.retries_left or 1) - 1
        self.log.info("Job %s will be tried again in %s s, %s left", self.id, interval, self.retries_left)
        if interval:
            queue.schedule_job(self, now() + timedelta(seconds=interval), pipeline=pipeline)
        else:
            queue._enqueue_job(self, pipeline=pipeline, at_front=True)


class _Executions(ExecutionRegistry):
    """The attempts of a job; RQ's own raises a ValueError if one ends between the list and a look at it."""

    def get_executions(self, start: int = 0, end: int = -1) -> list[Execution]:
        found = []
        for each in self.get_execution_ids(start, end):
            with suppress(ValueError):
                found.append(Execution.fetch(each, self.job_id, self.connection))
        return found


def fetch_or_fail(
    queue: Queue, job_id: str, job_class: type[Job] | None = None, serializer: Any = None
) -> Job | None:
    """The job; None if there is none. One that can't be read is noted among the failed ones of the queue.

    Raises:
        redis.exceptions.ConnectionError: Redis is away.
    """
    try:
        return (job_class or queue.job_class).fetch(
            job_id, connection=queue.connection, serializer=serializer or queue.serializer
        )
    except NoSuchJobError:
        return None
    except REDIS_AWAY:
        raise
    except Exception:
        logger.exception("Job %s can't be read: it has failed", job_id)
        queue.connection.zadd(queue.failed_job_registry.key, {job_id: time.time() + KEEP_UNREADABLE})
        return None


def timeout_in(error: BaseException | None) -> bool:
    """Whether the end of the job's time led to this error."""
    while error and not isinstance(error, JobTimeoutException):
        # A timeout in a statement is SQLAlchemy's StatementError.
        error = getattr(error, "orig", None) or error.__cause__ or error.__context__
    return error is not None


def overrun(job: Job) -> str:
    """What to say of a killed job that was past its time limit, and is not tried again; otherwise ''."""
    lasted = (now() - job.started_at).total_seconds() if job.started_at else 0
    if not job.timeout or not 0 < job.timeout < lasted:
        return ""
    _give_up(job)
    return f"it had not ended after {job.timeout} s, its time limit; "


def _give_up(job: Job) -> None:
    if not job.meta.get("retry_timeouts"):
        job.retries_left = 0


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _wait_for_the_end_of_the_outage() -> bool:
    """Wait a while until Redis and the database answer; returns whether they do."""
    end = time.monotonic() + limits.OUTAGE_WAIT
    while problems := readiness_problems():
        if time.monotonic() >= end:
            break
        time.sleep(0.5)
    return not problems
