"""A storm of saves on a running `make dev` with requests and jobs flowing."""

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

from src.reload.fingerprint import fingerprint
from tests.conftest import wait_until
from tests.template import storm_feature

SAVES = 200
BROKEN_EVERY = 5
SECONDS = 64.0
"""How long the saves take together."""

PATIENCE = 90.0
"""Seconds for whatever has to come; a machine with much else to do is slow, not wrong."""

UPLOAD = [b"half " * 20_000, b"a load " * 20_000]


class Usage(NamedTuple):
    """What the stack's processes take."""

    processes: int
    descriptors: int
    """Of the two supervisors."""
    memory: int
    """Of the two supervisors, in bytes."""


class Began(NamedTuple):
    """A job's start, noted by the job."""

    number: int
    version: int
    generation: int
    at: float


class HandOver(NamedTuple):
    """A hand-over of the worker, as it was logged."""

    at: float
    noticed: float
    generation: int


@dataclass
class Storm:
    """Saves in the tree of a running stack that `storm_feature` was added to."""

    folder: Path
    port: int
    measure: Callable[[], Usage]
    processes_at_rest: int
    seed: int = field(default_factory=lambda: random.randrange(10**6))  # noqa: S311
    version: int = 1
    saved: list[tuple[float, int]] = field(default_factory=list)
    saves: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    jobs: int = 0
    before: Usage | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311
        self._src = self.folder / "src"
        self._broken: dict[Path, str] = {}
        self._extra: list[Path] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    # Saves

    def run(self) -> None:
        """Warm up, let the storm blow, and wait until the jobs have ended."""
        for _ in range(3):  # the first hand-overs load packages into the fork servers
            self._save_version("warm-up")
            self.wait_for_last_save()
        self.before = self.settled()
        with self._clients():
            for kind, due in self._schedule():
                # The pace is what is tested; nothing is waited for here.
                self._stopping.wait(due - time.monotonic())
                self._save(kind)
            self.wait_for_last_save()
        with suppress(AssertionError):  # the claims tell which are missing
            wait_until(lambda: len(self.ended()) >= self.jobs, PATIENCE, "the jobs to end")

    def _schedule(self) -> Iterator[tuple[str, float]]:
        """Kinds of saves, one in five broken, the last one good; and when they are due."""
        gaps = [0.02 if n % 11 == 3 else self._random.uniform(0.1, 0.6) for n in range(SAVES)]
        due, scale = time.monotonic(), SECONDS / sum(gaps)
        for n, gap in enumerate(gaps):
            due += gap * scale
            good = self._random.choice(("in place", "renamed", "renamed", "new", "deleted", "core"))
            broken = self._random.choice(("syntax", "missing import", "raise", "exit", "missing file"))
            yield "in place" if n == SAVES - 1 else broken if n % BROKEN_EVERY == 2 else good, due

    def _save(self, kind: str) -> None:
        version, core = self._src / "storm" / "version.py", self._src / "progress_manager.py"
        if kind in ("syntax", "missing import", "raise", "exit", "missing file"):
            path = self._random.choice((version, core))
            self._broken[path] = text = path.read_text("utf-8")
            line = {"syntax": "def broken(:", "missing import": "import nothing_of_this_name"}.get(kind)
            line = line or {"raise": "raise RuntimeError('on purpose')", "exit": "raise SystemExit(0)"}.get(
                kind
            )
            if line:
                _replace(path, f"{text}\n{line}\n")
            else:
                path.unlink()
            self.saves[kind] += 1
            return
        while self._broken:
            _replace(*self._broken.popitem())
        if kind == "deleted" and self._extra:
            self._extra.pop(0).unlink()
        elif kind in ("new", "deleted"):
            kind = "new"
            self._extra.append(self._src / "storm" / f"extra_{sum(self.saves.values())}.py")
            self._extra[-1].write_text("EXTRA = True\n", "utf-8")
        elif kind == "core":
            _replace(core, core.read_text("utf-8") + f"# save {sum(self.saves.values())}\n")
        else:
            self._save_version(kind)
            return
        self.saves[kind] += 1

    def _save_version(self, kind: str) -> None:
        self.version += 1
        path, text = self._src / "storm" / "version.py", f"VERSION = {self.version}\n"
        if kind == "in place":
            path.write_text(text, "utf-8")
        else:
            _replace(path, text)
        self.saved.append((time.time(), self.version))
        self.saves[kind] += 1

    # Clients

    @contextmanager
    def _clients(self) -> Iterator[None]:
        """Requests of several kinds, some of which enqueue jobs, until the block ends."""
        flows: list[tuple[Callable[[HTTPConnection], None], float, bool]] = [
            (self._get_version, 0.03, True),
            (self._get_version, 0.07, True),
            (self._get_version, 0.05, False),
            (self._upload, 0.3, True),
            (self._enqueue, 0.12, True),
        ]
        threads = [threading.Thread(target=self._flow, args=flow) for flow in flows]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def _flow(self, act: Callable[[HTTPConnection], None], pause: float, keeps_alive: bool) -> None:
        connection = self._connect()
        # A pause between two requests, so that the clients leave the machine some time to reload.
        while not self._stopping.wait(pause):
            started = time.monotonic()
            try:
                act(connection)
            except (OSError, HTTPException, AssertionError) as error:
                self.failures.append(f"{datetime.now(UTC).time()} {act.__name__}: {error!r}")
                connection.close()
            with self._lock:
                self.requests += 1
                self.slowest = max(self.slowest, time.monotonic() - started)
            if not keeps_alive:
                connection.close()
        connection.close()

    def _connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=60)

    def _get_version(self, connection: HTTPConnection) -> None:
        connection.request("GET", "/storm/version")
        seen = int(_body(connection))
        assert 0 < seen <= self.version, f"version {seen}"

    def _upload(self, connection: HTTPConnection) -> None:
        def parts() -> Iterator[bytes]:
            yield UPLOAD[0]
            self._stopping.wait(0.1)  # a slow client
            yield UPLOAD[1]

        headers = {"Transfer-Encoding": "chunked"}
        connection.request("POST", "/storm/uploads", parts(), headers, encode_chunked=True)
        assert int(_body(connection)) == sum(map(len, UPLOAD)), "an upload arrived in part"

    def _enqueue(self, connection: HTTPConnection) -> None:
        self.jobs += 1
        seconds = (
            5 if self.jobs % 100 == 7 else 1 if self.jobs % 40 == 9 else self._random.uniform(0.01, 0.05)
        )
        connection.request("POST", f"/storm/jobs?number={self.jobs}&seconds={seconds}")
        _body(connection)

    # What can be seen

    def get(self, path: str) -> Any:
        """The JSON that a path of the API answers."""
        connection = self._connect()
        try:
            connection.request("GET", path)
            return storm_feature.parse(_body(connection))
        finally:
            connection.close()

    def wait_for_last_save(self) -> None:
        """Wait until the API and one worker, and no other, run the code on disk."""
        code = fingerprint(self._src)

        def look() -> bool:
            version = self.get("/version")
            return [version["code"], *(each["code"] for each in version["workers"])] == [code, code]

        wait_until(look, PATIENCE, f"API and worker to run {code}")

    def settled(self) -> Usage:
        """What is in use once the processes are those that there are at rest."""

        def look() -> Usage | None:
            used = self.measure()
            return used if used.processes == self.processes_at_rest else None

        return wait_until(look, PATIENCE, f"{self.processes_at_rest} processes to be left: {self.measure()}")

    def began(self) -> list[Began]:
        """All starts of jobs, in order."""
        return [Began(**each) for each in self.get("/storm/jobs")["began"]]

    def ended(self) -> list[int]:
        """The numbers of the jobs that came to their end."""
        return [each["number"] for each in self.get("/storm/jobs")["ended"]]

    def failed(self) -> list[str]:
        """What RQ reported of failed tries."""
        return [each["error"] for each in self.get("/storm/jobs")["failed"]]

    def log(self) -> str:
        """The worker's log: that of the supervisor and of all generations."""
        return (self.folder / "logs" / "rqworker.log").read_text("utf-8")

    def hand_overs(self) -> list[HandOver]:
        """Those that the worker has logged; the times are in its own clock, as are those of the jobs."""
        offset = self.get("/storm/jobs")["offset"]
        found, changed = [], 0.0
        for line in self.log().splitlines():
            if "CODE CHANGED - Restarting worker to load new code" in line:
                changed = _logged_at(line, offset)
            elif changed and (
                new := re.search(r"New worker at work after (\S+) s \(generation (\d+)\)", line)
            ):
                found.append(HandOver(changed, _logged_at(line, offset) - float(new[1]), int(new[2])))
                changed = 0.0
        return found

    def figures(self) -> str:
        """What happened, in a line."""
        hand_overs, saves = self.hand_overs(), sum(self.saves.values()) - self.saves["warm-up"]
        return (
            f"seed {self.seed}: {saves} saves {dict(self.saves)}, {len(hand_overs)} hand-overs, "
            f"{self.requests} requests, slowest {self.slowest:.2f} s, {len(self.failures)} failed; "
            f"{self.jobs} jobs; before {self.before}, after {self.measure()}"
        )


def _replace(path: Path, text: str) -> None:
    """Save as many editors do: write another file, then rename it."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text, "utf-8")
    scratch.replace(path)


def _body(connection: HTTPConnection) -> bytes:
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, f"{response.status}: {body[:500]!r}"
    return body


def _logged_at(line: str, offset: float) -> float:
    """When a line was logged, cut to milliseconds."""
    local = datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)
    return local.timestamp() - offset
