"""How long jobs take and how they end: counted in Redis by the workers, read by the API.

Workers run in other processes than the API, maybe on other machines, and each job has its own process, so
the counts are in Redis: in one hash, with about a dozen fields per function.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from redis import Redis
from redis.exceptions import RedisError
from rq.utils import as_text

Outcome = Literal["finished", "retried", "failed"]

BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds in seconds; longer jobs count under infinity."""

_KEY = "metrics:jobs"
_SUM = "sum"


@dataclass(slots=True)
class Durations:
    """Jobs of one function that ended the same way.

    Attributes:
        buckets: number of jobs by the lowest upper bound that they did not exceed, in seconds.
        seconds: their total duration.
    """

    buckets: dict[float, int] = field(default_factory=dict)
    seconds: float = 0.0


def count(redis: Redis, function: str, outcome: Outcome, seconds: float) -> None:
    """Count a job that has ended. If Redis is away or full, the count is lost, never the job.

    Args:
        function: the job's function, with its module.
        outcome: how it ended; a `retried` job failed and runs again.
        seconds: how long it took.
    """
    bound = next((bound for bound in BUCKETS if seconds <= bound), float("inf"))
    with contextlib.suppress(RedisError), redis.pipeline(transaction=False) as pipeline:
        pipeline.hincrby(_KEY, f"{function} {outcome} {bound}")
        pipeline.hincrbyfloat(_KEY, f"{function} {outcome} {_SUM}", round(seconds, 6))
        pipeline.execute()


def read(redis: Redis) -> Iterator[tuple[str, str, Durations]]:
    """Function, outcome and durations of all jobs that were counted.

    Raises:
        redis.exceptions.RedisError: Redis is away, or refuses the command.
    """
    found: defaultdict[tuple[str, str], Durations] = defaultdict(Durations)
    for name, value in redis.hgetall(_KEY).items():
        function, outcome, bound = as_text(name).rsplit(" ", 2)
        durations = found[function, outcome]
        if bound == _SUM:
            durations.seconds = float(value)
        else:
            durations.buckets[float(bound)] = int(value)
    for (function, outcome), durations in sorted(found.items()):
        yield function, outcome, durations
