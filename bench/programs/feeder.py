"""Enqueues what the bench asks for, with each tool's own client: `python -m feeder rq`."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from redis import Redis

ASKED = "bench:feed"


def rq() -> Callable[[int], object]:
    """Jobs for RQ."""
    from rq import Queue

    queue = Queue("bench", connection=Redis.from_url(os.environ["REDIS_URL"]))
    return lambda number: queue.enqueue("app.jobs.note", number, job_id=f"bench-{number}", result_ttl=60)


def dramatiq() -> Callable[[int], object]:
    """Messages for dramatiq."""
    from with_dramatiq import note

    return note.send


def arq() -> Callable[[int], object]:
    """Jobs for arq."""
    from arq import create_pool
    from with_arq import WorkerSettings

    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(
        create_pool(WorkerSettings.redis_settings, default_queue_name=WorkerSettings.queue_name)
    )
    return lambda number: loop.run_until_complete(pool.enqueue_job("note", number))


def taskiq() -> Callable[[int], object]:
    """Tasks for taskiq."""
    from with_taskiq import broker, note

    loop = asyncio.new_event_loop()
    loop.run_until_complete(broker.startup())
    kick: Callable[[int], Awaitable[object]] = note.kiq
    return lambda number: loop.run_until_complete(_awaited(kick(number)))


async def _awaited(result: Awaitable[object]) -> object:
    return await result


def main() -> None:
    """Enqueue until killed."""
    enqueue = {"rq": rq, "dramatiq": dramatiq, "arq": arq, "taskiq": taskiq}[sys.argv[1]]()
    redis = Redis.from_url(os.environ["REDIS_URL"])
    while True:
        if asked := redis.blpop([ASKED], timeout=1):
            enqueue(int(asked[1]))


if __name__ == "__main__":
    main()
