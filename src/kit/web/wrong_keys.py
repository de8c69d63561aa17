"""A limit on wrong API keys: `LIMIT` a minute for each address, counted in Redis for all processes."""

import asyncio

from redis.exceptions import RedisError

from src.kit.redis import async_redis

LIMIT, PERIOD = 30, 60
PATIENCE = 1.0
"""Seconds that Redis may take; without it, nobody is refused."""


async def seconds_to_wait(address: str) -> int:
    """Count a wrong key; if the address has sent too many, return when it may send the next one, else 0."""
    name = f"wrong-keys:{address}"
    try:
        async with asyncio.timeout(PATIENCE), async_redis() as redis, redis.pipeline() as pipeline:
            pipeline.set(name, 0, ex=PERIOD, nx=True)
            pipeline.incr(name)
            pipeline.ttl(name)
            _, count, seconds = await pipeline.execute()
    except (RedisError, TimeoutError):
        return 0
    return max(1, seconds) if count > LIMIT else 0
