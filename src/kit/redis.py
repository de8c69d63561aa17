"""The Redis client of a process."""

from functools import lru_cache

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from src.kit import limits
from src.kit.settings import get_settings

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError)
"""What any command raises while Redis is away."""


@lru_cache
def get_redis() -> Redis:
    """The Redis client of this process, with short timeouts and one retry on a broken connection."""
    return Redis.from_url(
        get_settings().redis_url,
        socket_connect_timeout=limits.REDIS_CONNECT,
        socket_timeout=limits.REDIS_ANSWER,
        health_check_interval=30,
        # Not after a timeout: a Redis that doesn't answer would only be waited for twice.
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 1, (RedisConnectionError,)),
    )
