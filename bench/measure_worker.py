"""Worker: from a save to the first job on new code, and what becomes of all the other jobs."""

import contextlib
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bench import app
from bench.plan import Plan
from bench.processes import last_line, running
from bench.results import WorkerResult
from bench.venvs import UnavailableError

BEGAN, ENDED, ASKED = "bench:began", "bench:ended", "bench:feed"
PACE = 0.02
"""Seconds between two jobs, at least."""
WAITING = 2
"""Jobs that wait at a time: enough that there always is one, and the slow have no heap before them."""
FORGET = 1.5
"""Seconds after which a job that has not begun counts as waiting no longer: it may be lost."""
FIRST_JOB = 40
"""Seconds for the first job of all."""


class Began(NamedTuple):
    """A job that has begun."""

    number: int
    version: int
    at: float


class JobStream(threading.Thread):
    """Enqueues jobs all the time, and sees which have begun."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(daemon=True)
        self._redis = redis
        self._done = threading.Event()
        self.asked: dict[int, float] = {}
        self.began: list[Began] = []

    def run(self) -> None:
        """Go on until `stop`."""
        with contextlib.suppress(RedisConnectionError):  # it ends with the bench
            self._feed()

    def _feed(self) -> None:
        waiting: dict[int, float] = {}
        while not self._done.wait(0.004):
            for job in self.look():
                waiting.pop(job.number, None)
            now = time.monotonic()
            counted = [at for at in waiting.values() if now - at < FORGET]
            if len(counted) < WAITING and now - max(self.asked.values(), default=0) >= PACE:
                number = len(self.asked) + 1
                self.asked[number] = waiting[number] = now
                self._redis.rpush(ASKED, number)

    def look(self) -> list[Began]:
        """The jobs that have begun since the last look."""
        lines: Any = self._redis.lrange(BEGAN, len(self.began), -1)
        new = [Began(int(n), int(v), float(at)) for n, v, at in (line.split() for line in lines)]
        self.began += new
        return new

    def stop(self) -> None:
        """Ask for no more."""
        self._done.set()
        self.join()

    def drain(self, patience: float) -> None:
        """Wait until all have begun and ended, or nothing happens for so long; after `stop`."""
        progress, since = (-1, -1), time.monotonic()
        while time.monotonic() - since < patience:
            self.look()
            ended = self._redis.llen(ENDED)
            if ended >= len(self.began) and len({job.number for job in self.began}) == len(self.asked):
                return
            if progress != (progress := (len(self.began), ended)):
                since = time.monotonic()
            time.sleep(0.02)


def measure(result: WorkerResult, plan: Plan, package: Path, url: str, versions: range) -> None:
    """One turn of a worker: start it, save new code again and again, stop it; adds to its result.

    Args:
        result: of this worker.
        plan: how much.
        package: folder of the application.
        url: a Redis that nobody else needs: it is emptied.
        versions: a number for each save, never used before.

    Raises:
        UnavailableError: it can't be measured.
    """
    redis: Redis = Redis.from_url(url)
    redis.flushdb()
    peer, tree, logs = result.peer, package.parent, package.parent.parent
    log = logs / "worker.log"
    log.unlink(missing_ok=True)
    folder = peer.bin()
    command = [url if part == "REDIS" else part for part in peer.command(folder, 0)]
    feed = [str(folder / "python"), "-m", "feeder", peer.feeder]
    environment = {"REDIS_URL": url}
    with (
        running(feed, tree, logs / "feeder.log", environment),
        running(command, tree, log, environment | peer.environment) as process,
    ):
        stream = JobStream(redis)
        stream.start()
        try:
            _wait_for_job(stream, process, log)
            time.sleep(plan.settle)
            for turn, version in enumerate(versions):
                if seconds := _save(stream, package, version, plan):
                    result.seconds.append(seconds)
                else:
                    result.missed += 1
                    if result.missed > 1 and not result.seconds:
                        break  # it never does
                time.sleep(plan.rest + 0.13 * (turn % 7))
        finally:
            stream.stop()
        stream.drain(plan.patience)
    _count(result, stream, redis)


def _wait_for_job(stream: JobStream, process: psutil.Process, log: Path) -> None:
    end = time.monotonic() + FIRST_JOB
    while not stream.began:
        if time.monotonic() > end or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise UnavailableError(f"runs no job: {last_line(log)}")
        time.sleep(0.02)


def _save(stream: JobStream, package: Path, version: int, plan: Plan) -> float | None:
    seen = len(stream.began)
    saved = time.time()
    app.save(package, version)
    while time.time() - saved < plan.patience:
        new = stream.began[seen:]
        if first := next((job for job in new if job.version == version), None):
            return first.at - saved
        time.sleep(0.004)
    return None


def _count(result: WorkerResult, stream: JobStream, redis: Redis) -> None:
    ended = {int(number) for number in redis.lrange(ENDED, 0, -1)}
    keys: Any = redis.zrange("rq:failed:bench", 0, -1)
    failed = {int(key.rpartition(b"-")[2]) for key in keys}
    tally(result, set(stream.asked), stream.began, ended, failed)


def tally(
    result: WorkerResult, asked: set[int], began: list[Began], ended: set[int], failed: set[int]
) -> None:
    """Add up what became of the jobs of one turn.

    Args:
        result: added to.
        asked: all jobs.
        began: those that began, as often as they did.
        ended: those that came to their end.
        failed: those that the queue counts as failed.
    """
    times = Counter(job.number for job in began)
    failed = failed | (times.keys() - ended)
    result.asked += len(asked)
    result.failed += len(failed)
    result.lost += len(asked - times.keys() - failed)
    result.twice += sum(count > 1 for count in times.values())
    newest = 0
    for job in sorted(began, key=lambda job: job.at):
        result.stale += job.version < newest
        newest = max(newest, job.version)
