"""A storm of saves on a running `make dev`, with requests and jobs flowing."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.conftest import wait_until
from tests.kit.repository import replace
from tests.template.hand_overs import HandOver, read_hand_overs
from tests.template.running import Running, edit

SAVES = 200
BROKEN_EVERY = 5
SECONDS = 64.0
"""How long the saves take together."""

PATIENCE = 90.0
"""Seconds for whatever has to come; a machine with much else to do is slow, not wrong."""

GOOD = ("in place", "renamed", "renamed", "new", "deleted", "core")
BROKEN = {
    "syntax": "def broken(:",
    "missing import": "import nothing_of_this_name",
    "raise": "raise RuntimeError('on purpose')",
    "exit": "raise SystemExit(0)",
    "missing file": "",
}
UPLOAD = [b"half " * 20_000, b"a load " * 20_000]


class Usage(NamedTuple):
    """What the stack's processes take; open files and memory, in bytes, are those of the two supervisors."""

    processes: int
    descriptors: int
    memory: int


class Began(NamedTuple):
    """A job's start, noted by the job."""

    number: int
    version: int
    generation: int
    at: float


class Storm:
    """Saves in the tree of a running stack that `storm_feature` was added to."""

    def __init__(self, running: Running, roots: list[int], processes_at_rest: int) -> None:
        """Save nothing yet.

        Args:
            running: the stack, which is ready.
            roots: the processes that all others of the stack descend from.
            processes_at_rest: how many there are, these included, when nothing is being reloaded.
        """
        self.running = running
        self.seed = random.randrange(10**6)  # noqa: S311
        self.version = 1
        self.saved: list[tuple[float, int]] = []
        self.saves: Counter[str] = Counter()
        self.requests, self.slowest, self.jobs = 0, 0.0, 0
        self.failures: list[str] = []
        self._roots, self._at_rest = [psutil.Process(pid) for pid in roots], processes_at_rest
        self._random = random.Random(self.seed)  # noqa: S311
        self._src = running.folder / "src"
        self._broken: dict[Path, str] = {}
        self._extra: list[Path] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    # Saves

    def run(self) -> None:
        """Warm up, let the storm blow, and wait until the jobs have ended."""
        for _ in range(3):  # the first hand-overs load packages into the fork servers
            self._save_version("warm-up")
            self.running.wait_for_code(workers=1)
        self.before = self.settled()
        with self._clients():
            for kind, due in self._schedule():
                # The pace is what is tested; nothing is waited for here.
                self._stopping.wait(due - time.monotonic())
                self._save(kind)
            self.running.wait_for_code(workers=1)
        with suppress(AssertionError):  # the claims name those that are missing
            wait_until(lambda: len(self.ended()) >= self.jobs, PATIENCE, "the jobs to end")

    def _schedule(self) -> Iterator[tuple[str, float]]:
        """Kinds of saves, one in five broken, the last one good; and when they are due."""
        gaps = [0.02 if n % 11 == 3 else self._random.uniform(0.1, 0.6) for n in range(SAVES)]
        due, scale = time.monotonic(), SECONDS / sum(gaps)
        for n, gap in enumerate(gaps):
            due += gap * scale
            kind = self._random.choice([*BROKEN] if n % BROKEN_EVERY == 2 else GOOD)
            yield "in place" if n == SAVES - 1 else kind, due

    def _save(self, kind: str) -> None:
        number, core = sum(self.saves.values()), self._src / "progress_manager.py"
        if kind in BROKEN:
            path = self._random.choice((self._src / "storm" / "version.py", core))
            self._broken[path] = path.read_text("utf-8")
            if kind == "missing file":
                path.unlink()
            else:
                edit(path, f"\n{BROKEN[kind]}\n")
            self.saves[kind] += 1
            return
        while self._broken:
            replace(*self._broken.popitem())
        if kind in ("in place", "renamed"):
            self._save_version(kind)
            return
        if kind == "deleted" and self._extra:
            self._extra.pop(0).unlink()
        elif kind == "core":
            edit(core, f"# save {number}\n")
        else:
            kind = "new"
            self._extra.append(self._src / "storm" / f"extra_{number}.py")
            self._extra[-1].write_text("EXTRA = True\n", "utf-8")
        self.saves[kind] += 1

    def _save_version(self, kind: str) -> None:
        self.version += 1
        path, text = self._src / "storm" / "version.py", f"VERSION = {self.version}\n"
        if kind == "in place":
            path.write_text(text, "utf-8")
        else:
            replace(path, text)
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
        connection = HTTPConnection("127.0.0.1", self.running.port, timeout=60)
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
        long = 5.0 if self.jobs % 100 == 7 else 1.0 if self.jobs % 40 == 9 else 0.0
        seconds = long or self._random.uniform(0.01, 0.05)
        connection.request("POST", f"/storm/jobs?number={self.jobs}&seconds={seconds}")
        _body(connection)

    # What can be seen

    def usage(self) -> Usage:
        """What the processes take; those that have ended and were not waited for count, too."""
        processes = [*self._roots, *(each for root in self._roots for each in root.children(recursive=True))]
        supervisors = []
        for process in processes:
            with suppress(psutil.Error):
                if process.cmdline()[1:3] in (["-m", "src.rq_worker"], ["-m", "src.reload"]):
                    supervisors.append((process.num_fds(), process.memory_info().rss))
        assert len(supervisors) == 2, processes
        return Usage(len(processes), *map(sum, zip(*supervisors, strict=True)))

    def settled(self) -> Usage:
        """What is in use once the processes are those that there are at rest."""

        def look() -> Usage | None:
            used = self.usage()
            return used if used.processes == self._at_rest else None

        return wait_until(look, PATIENCE, f"{self._at_rest} processes to be left: {self.usage()}")

    def began(self) -> list[Began]:
        """All starts of jobs, in order."""
        return [Began(**each) for each in self.running.get("/storm/jobs")["began"]]

    def ended(self) -> list[int]:
        """The numbers of the jobs that came to their end."""
        return [each["number"] for each in self.running.get("/storm/jobs")["ended"]]

    def failed(self) -> list[str]:
        """What RQ reported of failed tries."""
        return [each["error"] for each in self.running.get("/storm/jobs")["failed"]]

    def hand_overs(self) -> list[HandOver]:
        """Those that the worker, its supervisor and all generations, has logged."""
        offset = self.running.get("/storm/jobs")["offset"]
        return read_hand_overs(self.running.folder / "logs" / "rqworker.log", offset)

    def figures(self) -> str:
        """What happened, in a line."""
        saves = sum(self.saves.values()) - self.saves["warm-up"]
        return (
            f"seed {self.seed}: {saves} saves {dict(self.saves)}, {len(self.hand_overs())} hand-overs, "
            f"{self.requests} requests, slowest {self.slowest:.2f} s, {len(self.failures)} failed; "
            f"{self.jobs} jobs; before {self.before}, after {self.usage()}"
        )


def _body(connection: HTTPConnection) -> bytes:
    response = connection.getresponse()
    body = response.read()
    assert response.status == 200, f"{response.status}: {body[:500]!r}"
    return body
