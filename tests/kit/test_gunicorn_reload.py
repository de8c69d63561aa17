"""Gunicorn replaces its workers, or itself, under load, and no client notices."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, wait_until
from tests.kit.marked_processes import marked_processes
from tools.ports import free_port

pytestmark = pytest.mark.slow  # updates under load

WORKERS = 2


class Client(threading.Thread):
    """Sends requests all the time, on one connection or a new one for each, and repeats none that fails."""

    def __init__(self, port: int, *, keeps_alive: bool) -> None:
        super().__init__()
        self.answers = 0
        self.failures: list[str] = []
        self._port, self._keeps_alive = port, keeps_alive
        self._done = threading.Event()

    def run(self) -> None:
        """Send requests until told to stop."""
        connection = None
        while not self._done.wait(0.002):
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request("GET", "/health/live")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failures.append(str(response.status))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection = None
                continue
            self.answers += 1
            if response.will_close or not self._keeps_alive:
                connection.close()
                connection = None

    def stop(self) -> None:
        """Send no more."""
        self._done.set()
        self.join()


class Gunicorn:
    """Gunicorn as in production, on SQLite, and clients that load it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.port = free_port()
        self._log = folder / "gunicorn.log"
        self._pidfile = folder / "gunicorn.pid"
        self._mark = str(folder)
        bind = ["--bind", f"127.0.0.1:{self.port}", "--pid", str(self._pidfile)]
        with self._log.open("wb") as log:
            self._first = subprocess.Popen(
                [Path(sys.executable).with_name("gunicorn"), "-c", "gunicorn.conf.py", *bind],
                cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env=environment | {"WEB_CONCURRENCY": str(WORKERS), "GUNICORN_TEST": self._mark},
            )  # fmt: skip
        self.clients = [Client(self.port, keeps_alive=number % 2 == 0) for number in range(4)]

    def workers(self, master: int) -> set[int]:
        """The workers that a master has."""
        return {child.pid for child in psutil.Process(master).children() if child.pid != self._next_master()}

    def wait_for_workers(self, master: int, old: set[int]) -> None:
        """Wait until a master has new workers and no old ones."""

        def are_new() -> bool:
            found = self.workers(master)
            return len(found) == WORKERS and not found & old

        wait_until(are_new, 60, f"new workers: {self._log.read_text()[-3000:]}")

    def start_load(self) -> int:
        """Let the clients begin as soon as there is an answer; returns the master's process id."""
        wait_until(self._answers, 60, "the first answer")
        for client in self.clients:
            client.start()
        return self._first.pid

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def next_master(self) -> int:
        """The process id of the master that the first one has started."""
        return wait_until(self._next_master, 60, "the next master")

    def _next_master(self) -> int:
        pidfile = self._pidfile.with_name("gunicorn.pid.2")
        return int(pidfile.read_text() or 0) if pidfile.is_file() else 0

    def wait_for_answers(self, count: int) -> None:
        """Wait until every client got so many more."""
        wanted = [client.answers + count for client in self.clients]
        wait_until(
            lambda: all(client.answers >= least for client, least in zip(self.clients, wanted, strict=True)),
            60,
            "answers",
        )

    def wait_for_end(self) -> None:
        """Wait until the first master has ended."""
        assert self._first.wait(60) == 0

    def failures(self) -> list[str]:
        """What went wrong for any client."""
        for client in self.clients:
            client.stop()
        return [failure for client in self.clients for failure in client.failures]

    def kill(self) -> None:
        """End what is left."""
        for client in self.clients:
            if client.is_alive():
                client.stop()
        for process in marked_processes("GUNICORN_TEST", self._mark):
            process.kill()
        self._first.wait(10)


@pytest.fixture
def gunicorn(tmp_path: Path, environment: dict[str, str]) -> Iterator[Gunicorn]:
    server = Gunicorn(tmp_path, environment)
    yield server
    server.kill()


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_workers_are_replaced_by_hup_without_a_failed_request(gunicorn: Gunicorn, times: int) -> None:
    master = gunicorn.start_load()
    for _ in range(times):
        old = gunicorn.workers(master)
        gunicorn.wait_for_answers(20)
        os.kill(master, signal.SIGHUP)
        gunicorn.wait_for_workers(master, old)
        gunicorn.wait_for_answers(20)
    assert gunicorn.failures() == []


def test_a_new_gunicorn_takes_over_from_the_old_one_without_a_failed_request(gunicorn: Gunicorn) -> None:
    old = gunicorn.start_load()
    gunicorn.wait_for_answers(20)
    os.kill(old, signal.SIGUSR2)
    new = gunicorn.next_master()
    gunicorn.wait_for_workers(new, set())
    os.kill(old, signal.SIGTERM)
    gunicorn.wait_for_end()
    gunicorn.wait_for_answers(20)
    assert gunicorn.failures() == []
