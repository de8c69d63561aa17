"""Progress of a job: jobs write it, the API reads it."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import asdict, dataclass

from src.kit.channels import following
from src.kit.redis import REDIS_AWAY, away_reason, get_redis

logger = logging.getLogger(__name__)

KEEP_SECONDS = 24 * 3600
"""How long the last report of a job is kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        done: steps done so far.
        total: number of all steps, None if unknown.
        state: what the job is doing, in a word.
    """

    done: int
    total: int | None
    state: str


def report(job_id: str, done: int, total: int | None, state: str = "running") -> None:
    """Report how far a job is. If Redis is away or full, the report is lost; the job goes on."""
    progress = json.dumps(asdict(Progress(done, total, state)))
    try:
        with get_redis().pipeline(transaction=False) as pipeline:
            pipeline.set(_key(job_id), progress, ex=KEEP_SECONDS)
            pipeline.publish(_key(job_id), progress)
            pipeline.execute()
    except REDIS_AWAY as error:
        logger.warning("%s Progress of job %s not reported", away_reason(error), job_id)


def get(job_id: str) -> Progress | None:
    """What a job reported last, None if there is no report or Redis is away."""
    try:
        return _read(get_redis().get(_key(job_id)))
    except REDIS_AWAY:
        return None


async def news(job_id: str, at_least_every: float) -> AsyncGenerator[Progress | None, None]:
    """Yield a job's reports, starting with the last one, and None after a silence, as reports can get lost.

    Of several that arrive at once, it is the newest. Whatever a process follows, it has one subscription.

    Args:
        job_id: the job to follow.
        at_least_every: longest silence in seconds.
    """
    with following(_key(job_id), _key("*")) as (newest, subscribed):
        with suppress(TimeoutError):
            await asyncio.wait_for(subscribed.wait(), at_least_every)
        yield await asyncio.to_thread(get, job_id)
        while True:
            report = None
            with suppress(TimeoutError):
                report = await asyncio.wait_for(newest.get(), at_least_every)
            yield _read(report)


def _read(value: bytes | str | None) -> Progress | None:
    return Progress(**json.loads(value)) if value else None


def _key(job_id: str) -> str:
    return f"progress:{job_id}"
