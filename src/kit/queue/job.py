"""RQ's job, extended to survive an outage."""

import logging
import time
from typing import Any

from rq.job import Job

from src.kit import limits
from src.kit.database.engine import is_away
from src.kit.readiness import readiness_problems
from src.kit.redis import REDIS_AWAY

logger = logging.getLogger(__name__)


class RobustJob(Job):
    """A job whose attempts don't count if they failed because the database or Redis was away.

    `JOB_RETRIES` is for jobs that crash; an outage would use them up in a second.
    """

    def perform(self) -> Any:
        """Run the job; in an outage, wait a while for its end before the next attempt."""
        try:
            return super().perform()
        except Exception as error:
            if is_away(error) or isinstance(error, REDIS_AWAY):
                reason = str(error).partition("\n")[0]
                logger.warning("Job %s met an outage and will be tried again: %s", self.id, reason)
                _wait_for_the_end_of_the_outage()
                self.retries_left = (self.retries_left or 0) + 1
            raise


def _wait_for_the_end_of_the_outage() -> None:
    end = time.monotonic() + limits.OUTAGE_WAIT
    while readiness_problems() and time.monotonic() < end:
        time.sleep(0.5)
