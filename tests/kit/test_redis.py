"""Any Redis: one with TLS, a full one, a replica since the last failover, and those behind a Sentinel."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from rq.command import send_shutdown_command

from src import progress_manager
from src.kit.readiness import readiness_problems
from src.kit.redis import REDIS_AWAY, async_redis, connect, get_redis
from src.kit.web import problems
from tests.conftest import ROOT, wait_until
from tests.kit.redis_server import running_redis
from tests.kit.services import settings_read_again
from tests.kit.watched_redis import WatchedRedis, full, running_sentinel
from tests.kit.worker_process import Workers
from tools.console import ToolError
from tools.ports import free_port


def redis_problems() -> list[str]:
    return [problem for problem in readiness_problems() if "Redis" in problem]


def rq_info() -> str:
    """What `rq info` says, which is never a traceback."""
    command = [sys.executable, "-m", "rq.cli", "info", "-c", "src.kit.queue.rq_config"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in said.stderr, said.stderr
    return said.stdout + said.stderr


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[WatchedRedis]:
    """A Redis and its replica behind a Sentinel."""
    (tmp_path / "redis").mkdir()
    with running_sentinel(tmp_path / "redis", secrets.token_hex(16)) as watched:
        yield watched


async def _hear(message: str) -> object:
    async with async_redis() as redis, redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe("news")
        while True:
            get_redis().publish("news", message)
            if heard := await subscription.get_message(timeout=0.1):
                return heard["data"]


def test_every_client_asks_the_sentinel_for_the_master(watched: WatchedRedis) -> None:
    with settings_read_again(**watched.environment):
        assert redis_problems() == []
        assert "0 workers, 0 queues" in rq_info()
        get_redis().set("key", "value")
        assert watched.master().get("key") == b"value"
        with connect() as redis:
            assert redis.get("key") == b"value"
        assert asyncio.run(_hear("hello")) == b"hello"
    with settings_read_again(**watched.environment | {"REDIS_SENTINEL_PASSWORD": ""}):
        assert "No master found for 'main'" in rq_info()
        (problem,) = redis_problems()
        assert problem.startswith("None of the Sentinels names a master of Redis: check")


@pytest.mark.slow  # the Sentinel looks after the old master every ten seconds
def test_a_client_follows_the_master(watched: WatchedRedis) -> None:
    with settings_read_again(**watched.environment):
        get_redis().set("key", "old")
        old = watched.master()
        watched.fail_over()
        # Until then the old one takes what it forgets afterwards: only a sweep notices.
        wait_until(lambda: old.info("replication")["role"] == "slave", what="the old master to follow")
        assert get_redis().set("key", "new")
        assert watched.master().get("key") == b"new"


@pytest.mark.slow  # it waits for the failover
def test_an_idle_worker_follows_the_master_and_still_takes_commands(
    workers: Workers, watched: WatchedRedis
) -> None:
    workers.environment |= watched.environment
    process = workers.start()
    workers.wait_for_log("Listening on")
    watched.fail_over()
    workers.redis = watched.master()
    workers.queue.connection = workers.redis
    workers.enqueue("note", 1)
    workers.wait_for_begun(1)
    wait_until(lambda: workers.ended == [1], what="the job")
    (key,) = workers.hashes()
    name = key.decode().removeprefix("rq:worker:")
    channel = f"rq:pubsub:{name}"
    wait_until(
        lambda: workers.redis.pubsub_numsub(channel) == [(channel.encode(), 1)], 60, "the subscription"
    )
    send_shutdown_command(workers.redis, name)
    assert process.wait(20) == 0
    assert "Traceback" not in workers.log


def use_as_redis(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `redis-server` mean this program."""
    (folder / "redis-server").symlink_to(program)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def make_certificate(folder: Path, name: str) -> Path:
    """A certificate for localhost that is its own CA; its key is beside it."""
    openssl = shutil.which("openssl") or pytest.skip("no openssl")
    path = folder / f"{name}.crt"
    request = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=localhost",
        "-days",
        "1",
    ]
    request += [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        str(path.with_suffix(".key")),
        "-out",
        str(path),
    ]
    subprocess.run(request, check=True, capture_output=True)
    return path


@pytest.fixture
def with_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Path]]:
    """The port of a Redis that speaks TLS, and the certificate of its CA."""
    if not shutil.which("redis-server") and (debian := shutil.which("redis-check-rdb")):
        use_as_redis(
            debian, tmp_path, monkeypatch
        )  # in redis-tools: the same program, but no service with it
    certificate, port = make_certificate(tmp_path, "right"), free_port()
    options = {"port": port, "cert-file": certificate, "key-file": certificate.with_suffix(".key")}
    line = [f"--tls-{name}={value}".partition("=")[::2] for name, value in options.items()]
    try:
        server = running_redis(tmp_path, *sum(line, ()), "--tls-auth-clients", "no")
        with server:
            yield port, certificate
    except ToolError:
        if "tls-port" not in (tmp_path / "redis.log").read_text():
            raise
        pytest.skip("this redis-server has no TLS")


def test_a_redis_with_tls_is_used_only_with_the_right_ca(with_tls: tuple[int, Path], tmp_path: Path) -> None:
    port, certificate = with_tls
    url = f"rediss://localhost:{port}/0"
    with settings_read_again(REDIS_URL=url, REDIS_CA_FILE=str(certificate)):
        assert redis_problems() == []
        assert "0 workers, 0 queues" in rq_info()
        assert asyncio.run(_hear("hello")) == b"hello"
    for wrong, ca, reason in (
        (url, "", "self-signed certificate"),
        (url, str(make_certificate(tmp_path, "wrong")), "self-signed certificate"),
        (url.replace("localhost", "127.0.0.1"), str(certificate), "IP address mismatch"),
    ):
        with settings_read_again(REDIS_URL=wrong, REDIS_CA_FILE=ca):
            assert "certificate verify failed" in rq_info()
            (problem,) = redis_problems()
            assert problem.startswith(f"Redis's certificate is not trusted ({reason}): REDIS_CA_FILE has to")


def test_a_full_redis_is_reported_and_progress_is_dropped(
    stack: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    app = FastAPI()
    problems.install(app)
    app.put("/")(lambda: get_redis().set("key", "value"))
    client = TestClient(app)
    assert client.put("/").status_code == 200
    with full(stack["REDIS_URL"]):
        response = client.put("/")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert response.json()["detail"] == "Redis is full. Try again soon."
        assert readiness_problems() == ["Redis is full."]
        progress_manager.report("job", 1, 2)
        assert "Redis is full. Progress of job job not reported" in caplog.text
    assert client.put("/").status_code == 200
    assert readiness_problems() == []


def test_in_a_script_a_full_redis_and_a_replica_count_as_an_outage_too(tmp_path: Path) -> None:
    # Redis 6 and older wrap the error of a script's command in one of their own.
    write = "return redis.call('SET', KEYS[1], 'value')"
    with running_redis(tmp_path) as url, Redis.from_url(url) as redis:
        with full(url), pytest.raises(OutOfMemoryError):
            redis.eval(write, 1, "key")
        redis.replicaof("127.0.0.1", "1")
        with pytest.raises(ReadOnlyError):
            redis.eval(write, 1, "key")
        with pytest.raises(ResponseError, match="nobody"):
            redis.eval("return redis.error_reply('ERR nobody')", 0)


def test_a_replica_counts_as_an_outage_until_the_name_leads_to_a_master(
    tmp_path: Path, redis_url: str
) -> None:
    with running_redis(tmp_path) as url, settings_read_again(REDIS_URL=url), Redis.from_url(url) as demoted:
        assert redis_problems() == []
        with ThreadPoolExecutor() as thread:
            waiting = thread.submit(get_redis().blpop, ["queue"], 2)
            wait_until(lambda: demoted.info("clients")["blocked_clients"], what="the wait for a job")
            demoted.replicaof("127.0.0.1", "1")
            assert isinstance(waiting.exception(), REDIS_AWAY)
        assert redis_problems() == ["Redis does not answer (ReadOnlyError)."]
        # As if the name had moved: a new connection leads to the master. The old one has to be given up.
        for connection in get_redis().connection_pool._available_connections:
            connection.port = urlsplit(redis_url).port
        assert redis_problems() == []


@pytest.mark.slow
def test_a_worker_works_on_valkey(tmp_path: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    valkey = shutil.which("valkey-server") or pytest.skip("no valkey-server")
    folder = tmp_path / "valkey"
    folder.mkdir()
    use_as_redis(valkey, folder, monkeypatch)
    with running_redis(folder) as url:
        workers.use_redis(url)
        assert "valkey_version" in workers.redis.info("server")
        process = workers.start()
        workers.enqueue("note", 1)
        wait_until(lambda: workers.ended == [1], what="the job")
        process.terminate()
        assert process.wait(20) == 0
