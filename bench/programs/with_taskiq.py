"""The job for `taskiq worker --reload`."""

import os

from app import jobs
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(os.environ["REDIS_URL"])


@broker.task
def note(number: int) -> None:
    """The job."""
    jobs.note(number)
