"""Gunicorn replaces its workers, or itself, under load, and no client notices."""

import http.client
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until
from tests.kit.processes import marked_processes
from tests.kit.production_process import Api, running_api

pytestmark = pytest.mark.slow  # updates under load

WORKERS = 2


class Client(threading.Thread):
    """Sends requests all the time, on one connection or a new one for each, and repeats none that fails."""

    def __init__(self, port: int, *, keeps_alive: bool) -> None:
        super().__init__()
        self.answers = 0
        self.failures: list[str] = []
        self.done = threading.Event()
        self._port, self._keeps_alive = port, keeps_alive

    def run(self) -> None:
        """Send requests until told to stop."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self.done.wait(0.002):
            try:
                connection.request("GET", "/health/live")
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            self.answers += 1
            if response.status != 200:
                self.failures.append(str(response.status))
            if not self._keeps_alive:
                connection.close()
        connection.close()


@contextmanager
def load(api: Api) -> Iterator[list[Client]]:
    """Clients that load an API while the block runs, and of whose requests none may fail."""
    clients = [Client(api.port, keeps_alive=number % 2 == 0) for number in range(4)]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.done.set()
        for client in clients:
            client.join()
    assert [failure for client in clients for failure in client.failures] == []


def wait_for_answers(clients: list[Client], count: int = 20) -> None:
    """Wait until every client got so many more."""
    wanted = [(client, client.answers + count) for client in clients]
    wait_until(lambda: all(client.answers >= least for client, least in wanted), 60, "answers")


def wait_for_workers(api: Api, master: int, old: set[int]) -> None:
    """Wait until a master has new workers and no old ones."""

    def are_new() -> bool:
        found = {child.pid for child in psutil.Process(master).children()}
        return len(found) == WORKERS and not found & old

    wait_until(are_new, 60, f"new workers: {api.output.read_text()[-3000:]}")


@pytest.fixture
def api(tmp_path: Path, environment: dict[str, str]) -> Iterator[Api]:
    environment |= {"GUNICORN_TEST": str(tmp_path)}
    try:
        with running_api(tmp_path, environment, WORKERS, "--pid", str(tmp_path / "pid")) as api:
            yield api
    finally:
        for process in marked_processes("GUNICORN_TEST", str(tmp_path)):
            process.kill()


@pytest.mark.parametrize("times", [1, 10])
def test_workers_are_replaced_by_hup_without_a_failed_request(api: Api, times: int) -> None:
    with load(api) as clients:
        for _ in range(times):
            old = {worker.pid for worker in api.workers()}
            wait_for_answers(clients)
            api.process.send_signal(signal.SIGHUP)
            wait_for_workers(api, api.process.pid, old)
            wait_for_answers(clients)


def test_a_new_gunicorn_takes_over_from_the_old_one_without_a_failed_request(
    api: Api, tmp_path: Path
) -> None:
    with load(api) as clients:
        wait_for_answers(clients)
        api.process.send_signal(signal.SIGUSR2)
        pidfile = tmp_path / "pid.2"
        new = wait_until(lambda: int((pidfile.is_file() and pidfile.read_text()) or 0), 60, "the next master")
        wait_for_workers(api, new, set())
        assert api.stop() == 0
        wait_for_answers(clients)
