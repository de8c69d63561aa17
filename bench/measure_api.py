"""API: from a save to the first answer of new code, and how a client fares meanwhile."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from bench import app
from bench.peers import Peer
from bench.plan import Plan
from bench.processes import last_line, running
from bench.results import ApiResult
from bench.venvs import UnavailableError
from tools.ports import free_port

PAUSE = 0.005
"""Seconds between two requests."""
FIRST_ANSWER = 40
"""Seconds for the first answer of all."""


class Answer(NamedTuple):
    """What a request got, when, and how long it waited."""

    version: int
    at: float
    waited: float


class PatientClient(threading.Thread):
    """One request after the other, a connection each; waits as long as it takes, repeats what is refused."""

    def __init__(self, port: int, patience: float) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._patience = patience
        self._done = threading.Event()
        self.answers: list[Answer] = []
        self.refused = 0
        self.failed = 0

    def run(self) -> None:
        """Go on until `stop`."""
        while not self._done.wait(PAUSE):
            self.ask()

    def ask(self) -> None:
        """One request, until it is answered or has failed."""
        began = time.monotonic()
        was_refused = False
        while not self._done.is_set():
            try:
                version = ask_version(self._port, self._patience)
            except ConnectionRefusedError:
                self.refused += not was_refused
                was_refused = True
                self._done.wait(0.001)
                continue
            except (OSError, ValueError, http.client.HTTPException):
                self.failed += 1
                return
            self.answers.append(Answer(version, time.time(), time.monotonic() - began))
            return

    def stop(self) -> None:
        """Ask no more."""
        self._done.set()
        self.join()


def ask_version(port: int, patience: float) -> int:
    """Ask once for the version that is live; raises what can go wrong with connections, or ValueError."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", "/version", headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise ValueError(response.status)
    return int(json.loads(body)["version"])


def measure(result: ApiResult, plan: Plan, package: Path, url: str, versions: range) -> None:
    """One turn of an API: start it, save new code again and again, stop it; adds to its result.

    Args:
        result: of this API.
        plan: how much.
        package: folder of the application.
        url: a Redis; the application is imported with it.
        versions: a number for each save, never used before.

    Raises:
        UnavailableError: it can't be measured.
    """
    with serving(result.peer, package, url, FIRST_ANSWER) as (_process, port):
        time.sleep(plan.settle)
        with asking(result, port, plan.patience) as client:
            time.sleep(0.3)
            for turn, version in enumerate(versions):
                save = partial(app.save, package, version)
                if seconds := first_answer(client, version, save, plan.patience):
                    result.seconds.append(seconds)
                else:
                    result.missed += 1
                    if result.missed > 1 and not result.seconds:
                        break  # it never does
                time.sleep(plan.rest + 0.13 * (turn % 7))


@contextlib.contextmanager
def serving(peer: Peer, package: Path, url: str, patience: float) -> Iterator[tuple[psutil.Process, int]]:
    """Run an API that answers, for the `with` block; yields its process and its port.

    Raises:
        UnavailableError: it does not answer within so many seconds.
    """
    tree, log = package.parent, package.parent.parent / "api.log"
    log.unlink(missing_ok=True)
    port = free_port()
    command = peer.command(peer.bin(), port)
    with running(command, tree, log, {"REDIS_URL": url, **peer.environment}) as process:
        _wait_for_answer(port, process, log, patience)
        yield process, port


@contextlib.contextmanager
def asking(result: ApiResult, port: int, patience: float) -> Iterator[PatientClient]:
    """Let a client ask during the `with` block; how it fared is added to the result."""
    client = PatientClient(port, patience)
    client.start()
    try:
        yield client
    finally:
        client.stop()
    result.asked += len(client.answers) + client.failed
    result.refused += client.refused
    result.failed += client.failed
    result.longest_wait = max([result.longest_wait, *(answer.waited for answer in client.answers)])


def first_answer(
    client: PatientClient, version: int, save: Callable[[], None], patience: float
) -> float | None:
    """Save, and return the seconds until the client gets this version; None if it does not in time."""
    seen = len(client.answers)
    saved = time.time()
    save()
    while time.time() - saved < patience:
        new = client.answers[seen:]
        if first := next((answer for answer in new if answer.version == version), None):
            return first.at - saved
        time.sleep(0.004)
    return None


def _wait_for_answer(port: int, process: psutil.Process, log: Path, patience: float) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            ask_version(port, patience)
            return
        time.sleep(0.05)
    raise UnavailableError(f"does not answer: {last_line(log)}")
