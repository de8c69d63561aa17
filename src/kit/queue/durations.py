"""How long jobs take and how they end: counted in Redis by the workers, read by the API.

Workers are other processes than the API, on other machines maybe, and each job has a process of its own:
Redis is where they meet. One hash holds it all, some dozen fields for each function.
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
"""Upper bounds in seconds; what takes longer is counted under infinity."""

_KEY = "metrics:jobs"
_SUM = "sum"


@dataclass(slots=True)
class Durations:
    """Jobs of one function that ended the same way.

    Attributes:
        buckets: number of jobs by the lowest upper bound that they stayed within, in seconds.
        seconds: what all of them took together.
    """

    buckets: dict[float, int] = field(default_factory=dict)
    seconds: float = 0.0


def count(redis: Redis, function: str, outcome: Outcome, seconds: float) -> None:
    """Count a job that has ended. A Redis that is away or full costs the count, never the job.

    Args:
        function: the job's, with its module.
        outcome: how it ended; `retried` failed and is tried again.
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
        redis.exceptions.RedisError: Redis is away, or refuses.
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
