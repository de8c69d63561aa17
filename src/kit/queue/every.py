"""Functions that run at certain times: `@every("0 3 * * *")`, `@every(minutes=5)`."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from croniter import croniter  # type: ignore[import-untyped]
from redis import Redis
from redis.client import Pipeline

from src.kit.queue.enqueue import Function, JobOptions, enqueue

logger = logging.getLogger(__name__)

KEY = "schedules"
"""A hash in Redis: by a schedule's name, when it is due next and was due last."""

LATE = 60
"""Seconds after its time during which a schedule still counts as on time, such as after a restart."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a function runs: once for each due time, whatever the number of workers."""

    name: str
    function: Callable[[], Any]
    cron: str | None
    seconds: float
    catch_up: bool
    queue: str | None

    @property
    def spec(self) -> str:
        """The times, as a person writes them."""
        return self.cron or f"every {timedelta(seconds=self.seconds)}"

    def after(self, moment: float) -> float:
        """The next due time after a moment, both as Unix time."""
        if self.cron:
            return float(croniter(self.cron, datetime.fromtimestamp(moment, UTC)).get_next())
        return (moment // self.seconds + 1) * self.seconds

    def due(self, since: float, now: float) -> Iterator[float]:
        """The due times from `since`, itself one, until `now`; of those that were missed, only the first."""
        if since < now - LATE:
            if self.catch_up:
                yield since
            since = self.after(now - LATE)
        while since <= now:
            yield since
            since = self.after(since)


class Times(NamedTuple):
    """When a schedule is due next and was due last, as Unix time."""

    name: str
    spec: str
    queue: str
    next: float
    last: float | None


_schedules: dict[str, Schedule] = {}


def every(
    cron: str | None = None, *, catch_up: bool = False, queue: str | None = None, **interval: float
) -> Callable[[Function], Function]:
    """Decorator: the workers run the function at these times, which are in UTC; it takes no arguments.

    Args:
        cron: a cron expression of five fields, or six with seconds at the end.
        catch_up: whether it runs once, late, if no worker was there at its time.
        queue: the queue it waits in, if not the one of its `job` decorator.
        interval: instead of `cron`, as in `timedelta`, such as `minutes=5`.

    Raises:
        ValueError: the times are invalid.
    """
    seconds = timedelta(**interval).total_seconds()
    if (cron is None) == (not interval):
        raise ValueError(
            'every() needs either a cron expression, such as "0 3 * * *", or minutes=5 or the like'
        )
    if cron is not None and not croniter.is_valid(cron):
        raise ValueError(f"{cron!r} is not a cron expression, such as 0 3 * * *")
    if interval and seconds < 1:
        raise ValueError("the shortest interval is one second")

    def decorate(function: Function) -> Function:
        name = f"{function.__module__}.{function.__qualname__}"
        _schedules[name] = Schedule(name, function, cron, seconds, catch_up, queue)
        return function

    return decorate


def schedules() -> list[Schedule]:
    """The schedules in the code that was imported."""
    return list(_schedules.values())


def enqueue_due(redis: Redis, watch: Callable[[Pipeline], None]) -> None:
    """Enqueue the schedules that are due, each together with the note that it was, in one transaction.

    Args:
        redis: the client.
        watch: called first with each pipeline, to let its transaction fail if another worker has taken over.
    """
    now = time.time()
    stored = {times.name: times for times in read(redis)}
    for schedule in schedules():
        old = stored.pop(schedule.name, None)
        queue = schedule.queue or getattr(schedule.function, "job_options", JobOptions()).queue
        is_new = old is None or (old.spec, old.queue) != (schedule.spec, queue)
        if old and not is_new and old.next > now:
            continue
        due = [] if is_new or not old else list(schedule.due(old.next, now))
        last = due[-1] if due else old.last if old else None
        with redis.pipeline() as pipeline:
            watch(pipeline)
            pipeline.multi()
            try:
                for moment in due:
                    job_id = f"{schedule.name.replace('.', '-')}-{moment:.0f}"
                    enqueue(schedule.function, queue=queue, job_id=job_id, pipeline=pipeline)
            except ValueError as error:  # it must not keep the others from running
                logger.error("Schedule %s is skipped: %s", schedule.name, error)
            times = Times(schedule.name, schedule.spec, queue, schedule.after(now), last)
            pipeline.hset(KEY, schedule.name, json.dumps(times._asdict()))
            pipeline.execute()
        if not is_new and not due:
            logger.warning(
                "Schedule %s: it was due while no worker ran, and does not catch up", schedule.name
            )
    if stored:
        redis.hdel(KEY, *stored)


def read(redis: Redis) -> list[Times]:
    """The schedules that the workers run, the next one first."""
    return sorted((Times(**json.loads(each)) for each in redis.hvals(KEY)), key=lambda times: times.next)
