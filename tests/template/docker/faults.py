"""Breaks parts of a running stack, and watches what the API answers meanwhile."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from src.kit import limits
from tests.conftest import wait_until
from tests.template.docker.running import Running

WATCHED = ("/health/ready", "/api/v1/sales/summary?group_by=country", "/api/v1/sales/imports?limit=100")


@dataclass(frozen=True)
class Answer:
    """What a request got: no status where there was no answer."""

    path: str
    status: int | None
    detail: str
    seconds: float


@dataclass
class Watch:
    """Clients that ask all the time, one a path."""

    running: Running
    answers: list[Answer] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ask until the block ends."""
        threads = [threading.Thread(target=self._ask, args=(path,), daemon=True) for path in WATCHED]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, path: str) -> None:
        while not self._stop.wait(0.2):
            began = time.monotonic()
            response = request(self.running, "GET", path)
            seconds = time.monotonic() - began
            if response is None:
                self.answers.append(Answer(path, None, "", seconds))
            else:
                detail = response.json()["detail"] if response.status_code != 200 else ""
                self.answers.append(Answer(path, response.status_code, detail, seconds))

    def reasons(self) -> set[str]:
        """What the answers with 503 gave as their reason."""
        return {answer.detail for answer in self.answers if answer.status == 503}

    def check(self, *, may_be_gone: bool) -> None:
        """Every request was answered in time, well or with a reason.

        Args:
            may_be_gone: whether there may have been no API to answer.
        """
        assert {answer.status for answer in self.answers} <= {200, 503, None}
        assert all(self.reasons())
        gone = [answer for answer in self.answers if answer.status is None]
        assert may_be_gone or not gone, f"{len(gone)} of {len(self.answers)} without an answer"
        slowest = max(self.answers, key=lambda answer: answer.seconds)
        assert slowest.seconds < limits.REQUEST, slowest


def request(running: Running, method: str, path: str, **arguments: Any) -> "httpx2.Response | None":
    """What a request is answered, None if it isn't."""
    url = f"http://127.0.0.1:{running.port}{path}"
    try:
        return httpx2.request(method, url, headers=running.headers(), timeout=60, **arguments)
    except httpx2.TransportError:
        return None


@dataclass(frozen=True)
class Process:
    """A process of a container, seen from the host."""

    pid: int
    parent: int
    command: str


def processes(container: dict[str, Any]) -> list[Process]:
    """The processes of a container, its first one first."""
    top = ["docker", "top", container["Id"], "-eo", "pid,ppid,args"]
    lines = subprocess.run(top, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    found = [Process(int(pid), int(parent), " ".join(rest)) for pid, parent, *rest in map(str.split, lines)]
    return sorted(found, key=lambda process: process.pid != container["State"]["Pid"])


def children(container: dict[str, Any], parent: int) -> list[Process]:
    """The processes of a container that a process has started."""
    return [process for process in processes(container) if process.parent == parent]


def main_process(container: dict[str, Any]) -> Process:
    """The service's own process, which docker-init has started."""
    return children(container, container["State"]["Pid"])[0]


def send(running: Running, signal: int, *pids: int) -> None:
    """Send a signal from the host: the first process of a container ignores SIGKILL from inside.

    A process that has ended meanwhile is passed over.
    """
    program = f"import os\nfor pid in {list(pids)}:\n    try: os.kill(pid, {int(signal)})\n"
    program += "    except ProcessLookupError: pass\n"
    options = ["--rm", "--pid", "host", "--privileged", "--user", "0", "--network", "none"]
    docker("run", *options, running.environment["APP_IMAGE"], "python", "-c", program)


def docker(*arguments: str) -> str:
    """The output of a docker command; it has to succeed."""
    done = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}"
    return done.stdout


def on_all(running: Running, service: str, *command: str) -> None:
    """Run a docker command on all containers of a service."""
    docker(*command, *(container["Id"] for container in running.containers(service)))


def wait_until_well(running: Running, seconds: float = 120) -> None:
    """Wait until every container runs and is healthy, and the API is ready."""
    counts = {"fastapi": 1, "rqworker": 3, "redis": 1, "postgres": 1}

    def are_well() -> bool:
        for service, count in counts.items():
            states = [container["State"] for container in running.containers(service)]
            if len(states) != count or any(s["Health"]["Status"] != "healthy" for s in states):
                return False
        return running.get("/health/ready") is not None

    wait_until(are_well, seconds, "a stack that is well")


def sql(running: Running, statement: str) -> str:
    """Run a statement in the stack's database."""
    return running.compose(
        "exec", "-T", "postgres", "psql", "-U", "app", "-d", "app", "-Atc", statement, form="prod"
    )


def upload_until_accepted(running: Running, content: bytes, name: str, seconds: float = 180) -> str:
    """Upload as a client does that tries again while it is told 503 or gets no answer; the import's id."""

    def attempt() -> str | None:
        file = {"file": (name, content, "text/csv")}
        response = request(running, "POST", "/api/v1/sales/imports", files=file)
        if response is None or response.status_code == 503:
            return None
        assert response.status_code in (200, 202), response.text
        accepted: str = response.json()["id"]
        return accepted

    return wait_until(attempt, seconds, f"{name} to be accepted")


def imports(running: Running) -> dict[str, dict[str, Any]]:
    """All imports by id, none while the API does not tell."""
    found: list[dict[str, Any]] = running.get("/api/v1/sales/imports?limit=1000") or []
    return {each["id"]: each for each in found}


def started_at(running: Running, service: str) -> dict[str, str]:
    """When each container of a service was started, by id."""
    return {container["Id"]: container["State"]["StartedAt"] for container in running.containers(service)}


def in_background(function: Callable[[], object]) -> threading.Thread:
    """Run it in a thread, which does not keep the tests from ending."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


def as_json(value: object) -> str:
    """For the message of an assertion."""
    return json.dumps(value, indent=1, default=str)
