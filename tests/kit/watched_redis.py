"""A Redis and its replica behind a Sentinel, and a Redis that is full."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis import Redis

from tests.kit.redis_server import running, running_redis
from tests.kit.services import wait_until
from tools.ports import free_port
from tools.redis_binary import find_redis


class WatchedRedis:
    """A Redis and its replica, which a Sentinel watches as `main`."""

    def __init__(self, port: int, password: str) -> None:
        self._password = password
        self._sentinel = Redis(port=port, password=password)
        self.environment = {
            # The first Sentinel is not there.
            "REDIS_URL": f"redis+sentinel://localhost:1,127.0.0.1:{port}/main/0",
            "REDIS_PASSWORD": password,
            "REDIS_SENTINEL_PASSWORD": password,
        }
        wait_until(self._has_replica, what="the replica")

    def _has_replica(self) -> bool:
        replicas: Any = self._sentinel.sentinel_slaves("main")
        return [replica["master-link-status"] for replica in replicas] == ["ok"]

    def master(self) -> Redis:
        """A client of what is the master now."""
        state: Any = self._sentinel.sentinel_master("main")
        return Redis(state["ip"], state["port"], password=self._password)

    def fail_over(self) -> None:
        """Have the replica take over from the master, which follows it afterwards."""
        port = get_port(self.master())
        self._sentinel.sentinel_failover("main")
        wait_until(lambda: get_port(self.master()) != port, what="the failover")
        wait_until(lambda: self.master().info("replication")["role"] == "master", what="the new master")

    def kill_master(self) -> None:
        """Kill the master; the replica takes over once the Sentinel has missed it."""
        os.kill(int(self.master().info("server")["process_id"]), signal.SIGKILL)


def get_port(redis: Redis) -> int:
    """The port that a client connects to."""
    return int(redis.connection_pool.connection_kwargs["port"])


@contextmanager
def running_sentinel(directory: Path, password: str) -> Iterator[WatchedRedis]:
    """Run a Redis, its replica and a Sentinel.

    Args:
        directory: must be there.
        password: what all three ask for.
    """
    folders = [directory / name for name in ("master", "replica", "sentinel")]
    for folder in folders:
        folder.mkdir()
    common = ["--requirepass", password, "--masterauth", password, "--repl-diskless-sync-delay", "0"]
    own = free_port()
    with running_redis(folders[0], *common) as url:
        master = str(urlsplit(url).port)
        configuration = folders[2] / "sentinel.conf"
        configuration.write_text(
            f"bind 127.0.0.1\nport {own}\nrequirepass {password}\n"
            f"sentinel monitor main 127.0.0.1 {master} 1\nsentinel auth-pass main {password}\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
        )
        command = [str(find_redis()), str(configuration), "--sentinel"]
        with (
            running_redis(folders[1], *common, "--replicaof", "127.0.0.1", master),
            running(command, own, folders[2], 10),
        ):
            yield WatchedRedis(own, password)


@contextmanager
def full(url: str) -> Iterator[None]:
    """Have a Redis refuse whatever needs memory."""
    with Redis.from_url(url) as redis:
        redis.config_set("maxmemory", 1)
        try:
            yield
        finally:
            redis.config_set("maxmemory", 0)
