"""The Redis clients of a process, for one Redis or for the master that Sentinels name."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import ExponentialBackoff
from redis.connection import DefaultParser, parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from src.kit import limits
from src.kit.settings import SENTINEL_URL, get_settings

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OutOfMemoryError)
"""What a command raises while Redis is away, is full, or has become a replica in a failover."""


class _GeneralErrors(dict[str, Any]):
    """redis-py's exceptions by the text after `ERR`; Redis 6 wraps the error of a script's command in one."""

    def get(self, text: str, default: Any = None) -> Any:
        code = re.search(r"-(OOM|READONLY) ", text)
        return _errors[code[1]] if code else super().get(text, default)


_errors: dict[str, Any] = DefaultParser.EXCEPTION_CLASSES
_errors["ERR"] = _GeneralErrors(_errors["ERR"])
_errors["UNBLOCKED"] = ReadOnlyError  # while blocked, its master became a replica


@lru_cache
def get_redis() -> Redis:
    """The Redis client of this process, with short timeouts and one retry on a broken connection."""
    # Not after a timeout: a Redis that doesn't answer would only be waited for twice. A replica has just been
    # the master: the new connection goes to whatever the name, or the Sentinel, says now.
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.05), 1, (RedisConnectionError, ReadOnlyError))
    redis: Redis = connect(health_check_interval=30, retry=retry)
    return redis


def connect(client: Any = Redis, sentinel: Any = Sentinel, **options: Any) -> Any:
    """Another client, for other options of redis-py than those of `get_redis`, or other classes."""
    settings = get_settings()
    options.setdefault("socket_connect_timeout", limits.REDIS_CONNECT)
    options.setdefault("socket_timeout", limits.REDIS_ANSWER)
    options["driver_info"] = None  # each job connects: reading redis-py's version and sending it takes 2 ms
    if settings.redis_ca_file and settings.redis_url.startswith("rediss"):
        options["ssl_ca_certs"] = str(settings.redis_ca_file)
    if not (behind := sentinels(settings.redis_url, options)):
        return client.from_url(settings.redis_url, **options)
    nodes, service, asking, options = behind
    return sentinel(nodes, sentinel_kwargs=asking, **options).master_for(service, client)


def sentinels(url: str, options: dict[str, Any]) -> Any:
    """The addresses of the Sentinels, the master's name, and the options for both; None if there are none."""
    match = SENTINEL_URL.fullmatch(url)
    if not match:
        return None
    scheme, user, hosts, service, rest = match.groups(default="")
    options = options | parse_url(f"{scheme}://{user}{rest}")  # type: ignore[no-untyped-call]
    options["ssl"] = options.pop("connection_class", None) is not None
    # The Sentinels get the timeouts and the options of TLS, but neither the user nor the retries.
    asking = {name: value for name, value in options.items() if name.startswith(("socket_", "ssl"))}
    password = get_settings().redis_sentinel_password
    asking |= {"password": password and password.get_secret_value(), "retry": None}
    nodes = [(part.hostname, part.port or 26379) for part in (urlsplit(f"//{h}") for h in hosts.split(","))]
    return nodes, service, asking, options


@asynccontextmanager
async def async_redis() -> AsyncIterator[AsyncRedis]:
    """A client for asyncio, which is closed at the end; it retries nothing."""
    redis: AsyncRedis = connect(AsyncRedis, AsyncSentinel)
    try:
        yield redis
    finally:
        await redis.aclose()
        if sentinel := getattr(redis.connection_pool, "sentinel_manager", None):
            await sentinel.aclose()


def away_reason(error: RedisError) -> str:
    """What is wrong with Redis, in a sentence that names no host."""
    if isinstance(error, OutOfMemoryError):
        return "Redis is full."
    if isinstance(error, MasterNotFoundError):  # its text doesn't say why a Sentinel is of no use
        return (
            "None of the Sentinels names a master of Redis: check their addresses, password and certificate, "
            "and the master's name in REDIS_URL."
        )
    if found := re.search(r"certificate verify failed: ([^,(]*\w)", str(error)):
        return (
            f"Redis's certificate is not trusted ({found[1]}): REDIS_CA_FILE has to name the certificate of "
            "its CA, and REDIS_URL the host that it is for."
        )
    return f"Redis does not answer ({type(error).__name__})."
