"""The worker outlives a Redis that ends and comes back, or stops answering for a while."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from tests.conftest import wait_until
from tests.kit.test_worker_health import is_healthy, let_time_pass
from tests.kit.watched_redis import full
from tests.kit.worker_process import Workers, stop
from tools.ports import free_port
from tools.redis_binary import redis_command


class RedisServer:
    """A Redis that a test may stop."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it, with the data that it had."""
        command = redis_command(self._port)
        self.process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)
        wait_until(self._answers, what="Redis")
        return self.process

    def kill(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        with suppress(RedisError), Redis.from_url(self.url) as redis:
            return bool(redis.ping())
        return False


@pytest.fixture
def server(workers: Workers, tmp_path: Path) -> Iterator[RedisServer]:
    """The Redis of these workers."""
    server = RedisServer(tmp_path / "redis")
    workers.use_redis(server.url)
    yield server
    server.kill()


@pytest.mark.slow  # it waits for Redis to be missed
def test_it_outlives_redis(workers: Workers, server: RedisServer) -> None:
    process = workers.start()
    wait_until(workers.registered)
    server.kill()
    workers.wait_for_log("Redis is away")
    server.start()
    workers.wait_for_log("Redis is back")
    workers.enqueue("note", 1)
    workers.wait_for_begun(1)
    assert "Traceback" not in workers.log
    assert stop(process) == 0


@pytest.mark.slow
def test_while_redis_is_silent_it_is_healthy_and_its_job_is_not_lost(
    workers: Workers, server: RedisServer, tmp_path: Path
) -> None:
    beats = {name: tmp_path / name for name in ("busy", "idle")}
    processes = [workers.start(RQ_WORKER_HEARTBEAT_FILE=str(beats["busy"]))]
    workers.enqueue("wait_for_word", 1)
    workers.wait_for_begun(1)
    processes.append(workers.start(RQ_WORKER_HEARTBEAT_FILE=str(beats["idle"])))
    wait_until(lambda: all(map(is_healthy, beats.values())), what="two healthy workers")
    server.process.send_signal(signal.SIGSTOP)
    workers.wait_for_log("Redis is away", 2, 60)
    for heartbeat in beats.values():
        let_time_pass(heartbeat)
    wait_until(lambda: all(map(is_healthy, beats.values())), 60, "heartbeats though Redis is silent")
    server.process.send_signal(signal.SIGCONT)
    workers.redis.set("end", 1)
    wait_until(lambda: workers.ended == [1], 60, "the job to end once")
    assert "met an outage and will be tried again" in workers.log, "its one try is not used up"
    assert [stop(process) for process in processes] == [0, 0]


@pytest.mark.slow
def test_while_redis_is_full_it_waits_and_its_job_is_tried_again(workers: Workers, redis_url: str) -> None:
    processes = [workers.start()]
    workers.enqueue("note", 1, 2)
    workers.wait_for_begun(1)
    with full(redis_url):
        processes.append(workers.start())
        workers.wait_for_log("met an outage and will be tried again")
        workers.wait_for_log("Waiting before the first job: Redis is full.")
    wait_until(lambda: workers.ended == [1], 60, "the job to end once")
    workers.wait_for_log("Listening on", 2)
    with full(redis_url):
        workers.wait_for_log("Redis is away", 2)
    workers.wait_for_log("Redis is back", 2)
    assert [stop(process) for process in processes] == [0, 0]
