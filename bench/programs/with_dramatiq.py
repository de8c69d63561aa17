"""The job for `dramatiq --watch`."""

import os

import dramatiq
from app import jobs
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["REDIS_URL"]))


@dramatiq.actor
def note(number: int) -> None:
    """The job."""
    jobs.note(number)
