"""The command of the stack's Redis keeps its data below the container's limit, so that it is never killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml  # type: ignore[import-untyped]
from redis import Redis
from redis.exceptions import OutOfMemoryError

from tests.conftest import ROOT
from tests.kit.redis_server import running
from tools.ports import free_port
from tools.redis_binary import find_redis

REDIS = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["redis"]
COMMAND: list[str] = [part.replace("$$", "$") for part in REDIS["command"]]
MIB = 2**20


@contextmanager
def redis_in_container(folder: Path, file: str, limit: str) -> Iterator[Redis]:
    """The Redis of the compose file, where a file of the control group contains this limit."""
    (folder / "secrets").mkdir()
    (folder / "secrets" / "redis_password").write_text("secret")
    (folder / "cgroup" / file).parent.mkdir(parents=True)
    (folder / "cgroup" / file).write_text(f"{limit}\n")
    port = free_port()
    own = {
        "/run/secrets": str(folder / "secrets"),
        "/sys/fs/cgroup": str(folder / "cgroup"),
        "redis-server": f"{find_redis()} --bind 127.0.0.1 --port {port}",
    }
    command = COMMAND
    for name, value in own.items():
        command = [part.replace(name, value) for part in command]
    with running(command, port, folder, 10), Redis(port=port, password="secret") as redis:
        yield redis


@pytest.mark.parametrize(
    ("file", "limit", "expected"),
    [
        ("memory.max", str(512 * MIB), 384 * MIB),
        ("memory.max", "max", 0),
        ("memory/memory.limit_in_bytes", str(512 * MIB), 384 * MIB),
        ("nothing", "", 0),
    ],
)
def test_redis_may_fill_three_quarters_of_its_container(
    tmp_path: Path, file: str, limit: str, expected: int
) -> None:
    with redis_in_container(tmp_path, file, limit) as redis:
        assert redis.config_get("maxmemory") == {"maxmemory": str(expected)}
        assert redis.config_get("appendonly") == {"appendonly": "yes"}


def fill(redis: Redis, mebibytes: int) -> None:
    for number in range(mebibytes):
        redis.set(f"job {number}", b"x" * MIB)


def test_a_full_redis_refuses_what_is_new_and_keeps_what_it_has(tmp_path: Path) -> None:
    with redis_in_container(tmp_path, "memory.max", str(32 * MIB)) as redis:
        with pytest.raises(OutOfMemoryError):
            fill(redis, 32)
        assert 8 < redis.dbsize() < 24
        server = psutil.Process(int(redis.info("server")["process_id"]))
        assert server.memory_info().rss < 32 * MIB
