"""The job for `arq --watch`."""

import os
from typing import Any, ClassVar

from app import jobs
from arq.connections import RedisSettings


async def note(_context: dict[str, Any], number: int) -> None:
    """The job."""
    jobs.note(number)


class WorkerSettings:
    """What the arq command line reads."""

    functions: ClassVar = [note]
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    queue_name = "bench:arq"
