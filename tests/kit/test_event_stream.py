"""Event streams share a look and a connection to Redis, are limited, and end without an error."""

import resource
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from src import progress_manager
from tests.conftest import wait_until
from tests.kit.hostile_server import FAULTS
from tests.kit.production_process import KEY, Api, production_environment, running_api
from tests.kit.services import settings_read_again

OF_ALL, OF_A_CLIENT = 30, 20
END = "\r\n0\r\n\r\n"
"""Of a response in chunks."""
LIMITS = {"MAX_STREAMS": str(OF_ALL), "MAX_STREAMS_PER_CLIENT": str(OF_A_CLIENT)}


class Stream:
    """An open stream, or the response to one that was refused."""

    def __init__(self, api: Api, path: str, client: str = "192.0.2.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", api.port), timeout=20)
        headers = f"Host: localhost\r\nX-API-Key: {KEY}\r\nX-Forwarded-For: {client}\r\n"
        self._socket.sendall(f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode())
        self.received = ""
        self.read_until("\r\n\r\n")

    def read_until(self, text: str) -> None:
        """Read until the server has sent this; fails if it ends before."""
        while text not in self.received:
            data = self._socket.recv(65536)
            assert data, f"no {text!r} in {self.received}"
            self.received += data.decode()

    def close(self) -> None:
        """Leave."""
        self._socket.close()


@contextmanager
def running_streams(folder: Path, redis_url: str, database: Path) -> Iterator[Api]:
    """Run one process of the application; its log has to be clean, also after it has stopped."""
    environment = production_environment(redis_url, f"sqlite:///{database}") | LIMITS
    with running_api(folder, environment, 1, "tests.kit.streams_app:app") as api:
        yield api
    assert not FAULTS.search(log := api.output.read_text()), log


@pytest.fixture(scope="module")
def api(redis_server: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The application for the tests that don't stop it, started with fewer open files than it may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
    with running_streams(tmp_path_factory.mktemp("streams"), redis_server, sqlite_template) as api:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        yield api


@pytest.fixture
def job_id(api: Api, redis_server: str) -> Iterator[str]:
    """A new job, about which this process can report; at the end, no stream must be left over."""
    with settings_read_again(REDIS_URL=redis_server):
        yield secrets.token_hex(8)
    wait_until(lambda: not counts(api)["open"], what="the end of all streams")


def report(job_id: str, state: str) -> None:
    progress_manager.report(job_id, 1, 2, state)


def counts(api: Api) -> dict[str, Any]:
    answer: dict[str, Any] = api.ask("/counts").json()
    return answer


def looks(api: Api, *job_ids: str) -> list[int]:
    counted = counts(api)["looks"]
    return [counted[job_id] for job_id in job_ids]


def test_streams_of_a_topic_share_each_look_and_all_share_a_subscription(
    api: Api, redis_server: str, job_id: str
) -> None:
    one, other = job_id, job_id[::-1]
    with ExitStack() as stack, Redis.from_url(redis_server) as redis:
        earlier = {client["id"] for client in redis.client_list()}  # of other tests, too
        streams = [stack.enter_context(closing(Stream(api, f"/jobs/{one}/events"))) for _ in range(10)]
        others = [stack.enter_context(closing(Stream(api, f"/jobs/{other}/events"))) for _ in range(10)]
        for stream in streams + others:
            stream.read_until("data: none")
        assert looks(api, one, other) == [1, 1]

        def clients() -> list[dict[str, str]]:
            return [client for client in redis.client_list() if client["id"] not in earlier]

        def subscriptions() -> list[dict[str, str]]:
            return [client for client in clients() if client["psub"] != "0" or client["sub"] != "0"]

        assert len(wait_until(subscriptions, what="the subscription")) == 1
        assert len(clients()) < 10
        report(one, "half")
        for stream in streams:
            stream.read_until("data: half")
        report(one, "ended")
        for stream in streams:
            stream.read_until("data: ended")
            stream.read_until(END)
        assert looks(api, one, other) == [3, 1]
        stack.close()
        wait_until(lambda: not subscriptions(), what="the end of the subscription")


def test_streams_beyond_a_limit_are_refused_until_another_one_ends(api: Api, job_id: str) -> None:
    paths = (f"/jobs/{job_id}/events", "/state")
    with ExitStack() as stack:

        def open_stream(client: str, path: str = paths[0]) -> Stream:
            return stack.enter_context(closing(Stream(api, path, client)))

        def refusal(client: str, status: int, path: str = paths[0]) -> str:
            refused = open_stream(client, path)
            refused.read_until("}")
            assert refused.received.startswith(f"HTTP/1.1 {status}")
            assert "application/problem+json" in refused.received
            assert "retry-after: 5" in refused.received.lower()
            return refused.received

        streams = [open_stream("192.0.2.1", path) for path in paths * (OF_A_CLIENT // 2)]
        for path in paths:
            assert "MAX_STREAMS_PER_CLIENT" in refusal("192.0.2.1", 429, path)
        for stream in streams + [open_stream("192.0.2.2") for _ in range(OF_ALL - OF_A_CLIENT)]:
            stream.read_until("data: ")
        assert "(MAX_STREAMS)" in refusal("192.0.2.2", 503)
        assert api.ask("/health/live").status_code == 200
        streams[0].close()
        wait_until(lambda: open_stream("192.0.2.2").received.startswith("HTTP/1.1 200"), what="a free place")


def test_streams_whose_object_is_gone_end_and_new_ones_get_the_reason(api: Api, job_id: str) -> None:
    with closing(Stream(api, f"/jobs/{job_id}/events")) as stream:
        stream.read_until("data: none")
        report(job_id, "gone")
        stream.read_until(END)
    with closing(Stream(api, f"/jobs/{job_id}/events")) as refused:
        refused.read_until("It is gone.")
        assert refused.received.startswith("HTTP/1.1 404")


def test_a_stop_ends_every_stream_cleanly(redis_server: str, sqlite_template: Path, tmp_path: Path) -> None:
    with running_streams(tmp_path, redis_server, sqlite_template) as api, ExitStack() as stack:
        streams = [stack.enter_context(closing(Stream(api, f"/jobs/{n}/events"))) for n in range(10)]
        for stream in streams:
            stream.read_until("data: none")
        streams.pop().close()  # a client that leaves
        api.process.terminate()
        for stream in streams:
            stream.read_until(END)


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_NOFILE"), reason="the limit can only be read on Linux")
def test_a_process_may_open_as_many_files_as_the_system_allows(api: Api) -> None:
    (worker,) = api.workers()
    soft, hard = worker.rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


def test_it_is_live_while_requests_use_all_threads(api: Api) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            waiting = stack.enter_context(socket.create_connection(("127.0.0.1", api.port)))
            waiting.sendall(f"GET /blocked HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n\r\n".encode())
        wait_until(lambda: counts(api)["blocked"] >= 40, what="all threads to be busy")
        assert api.ask("/health/live").status_code == 200
        assert counts(api)["blocked"] < 60, "some still wait for a thread"
        api.ask("/release")
