"""The worker as a real process, on a copy of the code with a feature of probing jobs."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis
from rq import Queue
from rq.job import Job, Retry
from rq.serializers import JSONSerializer

from tests.conftest import ROOT, wait_until
from tests.kit.marked_processes import marked_processes

JOBS = """
import logging, os, time
from src.kit.redis import get_redis
from src.probe.version import VERSION

def note(number, seconds=0):
    \"\"\"Note number, version, time and process; then take a while, then note the end.\"\"\"
    get_redis().rpush("began", f"{number} {VERSION} {time.time()} {os.getpid()}")
    time.sleep(seconds)
    get_redis().rpush("ended", number)

def wait_for_word(number):
    \"\"\"Note the beginning, wait until there is a key `end`, note the end.\"\"\"
    get_redis().rpush("began", f"{number} {VERSION} {time.time()} {os.getpid()}")
    while not get_redis().exists("end"):
        time.sleep(0.01)
    get_redis().rpush("ended", number)

def die():
    \"\"\"The process of the job is killed.\"\"\"
    os.kill(os.getpid(), 9)

def say(words):
    \"\"\"Write a line into the log.\"\"\"
    logging.getLogger("src.probe").info(words)

def note_failure(job, connection, kind, error, trace):
    \"\"\"A failure callback.\"\"\"
    logging.getLogger("src.probe").info("failure callback")
"""


@dataclass(frozen=True)
class Begun:
    """A job that a worker began."""

    number: int
    version: int
    at: float
    pid: int


class Workers:
    """A copy of the code, an empty Redis, a migrated database, and worker processes on them."""

    def __init__(self, folder: Path, redis_url: str, database_url: str) -> None:
        self.folder = folder
        self.redis = Redis.from_url(redis_url)
        self.queue = Queue("default", connection=self.redis, serializer=JSONSerializer)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._mark = uuid.uuid4().hex
        self.environment = os.environ | {
            "REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            "LOG_LEVEL": "debug",
            "WORKER_TEST": self._mark,
        }
        for name in ("src", "migrations"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "src" / "probe").mkdir()
        self.save("__init__.py", "")
        self.save("jobs.py", JOBS)
        self.save("version.py", "VERSION = 1\n")

    def save(self, name: str, content: str) -> None:
        """Write a file of the probe."""
        path = self.folder / "src" / "probe" / name
        scratch = path.with_suffix(".tmp")
        scratch.write_text(content)
        scratch.replace(path)

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker process."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "src.rq_worker"],
                cwd=self.folder,
                env=self.environment | environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    @property
    def log(self) -> str:
        """What all of them have logged."""
        return (self.folder / "log").read_text()

    def wait_for_log(self, text: str, count: int = 1, seconds: float = 20) -> None:
        """Wait until a text has been logged."""
        wait_until(lambda: self.log.count(text) >= count, seconds, f"{text!r} in {self.log[-3000:]}")

    def enqueue(self, function: str, *arguments: Any, tries: int = 1) -> Job:
        """Enqueue a job of the probe."""
        retry = Retry(max=tries - 1) if tries > 1 else None
        return self.queue.enqueue(f"src.probe.jobs.{function}", *arguments, retry=retry, result_ttl=600)

    @property
    def begun(self) -> list[Begun]:
        """All jobs that were begun, in order."""
        lines: Any = self.redis.lrange("began", 0, -1)
        fields = [line.decode().split() for line in lines]
        return [Begun(int(n), int(version), float(at), int(pid)) for n, version, at, pid in fields]

    @property
    def ended(self) -> list[int]:
        """The numbers of all jobs that came to their end, in order."""
        lines: Any = self.redis.lrange("ended", 0, -1)
        return [int(line) for line in lines]

    def wait_for_begun(self, number: int, seconds: float = 20) -> Begun:
        """Wait until a job begins."""
        found = wait_until(
            lambda: [job for job in self.begun if job.number == number],
            seconds,
            f"job {number}: {self.log[-3000:]}",
        )
        return found[-1]

    def registered(self) -> list[dict[str, str]]:
        """The hashes of the workers that are registered and alive."""
        keys: Any = self.redis.smembers("rq:workers")
        hashes: list[Any] = [self.redis.hgetall(key) for key in keys]
        decoded = [{name.decode(): value.decode() for name, value in fields.items()} for fields in hashes]
        return [fields for fields in decoded if fields and "death" not in fields]

    def let_time_pass(self) -> None:
        """Make every running job look as if its worker had last been heard of long ago."""
        running = self.queue.started_job_registry.key
        members: list[Any] = self.redis.zrange(running, 0, -1)
        for member in members:
            self.redis.zadd(running, {member: 1}, xx=True)
        self.redis.delete(f"rq:maintenance:{self.queue.name}")

    def running(self) -> list[psutil.Process]:
        """All processes of these workers, whoever their parent is."""
        return marked_processes("WORKER_TEST", self._mark)

    def kill_all(self) -> None:
        """End whatever a test left over."""
        for process in self.running():
            process.kill()
        for child in self.processes:
            child.wait(5)


def stop(
    process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM, seconds: float = 20
) -> int:
    """Send a signal and return the exit code."""
    process.send_signal(number)
    return process.wait(seconds)


@pytest.fixture
def workers(tmp_path: Path, redis_url: str) -> Iterator[Workers]:
    """Everything that a worker needs, in a copy of the code that tests may change."""
    workers = Workers(tmp_path, redis_url, f"sqlite:///{tmp_path / 'app.db'}")
    migrate(workers)
    yield workers
    workers.kill_all()


def migrate(workers: Workers) -> None:
    """Bring the database to the newest migration."""
    subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=workers.folder, env=workers.environment, check=True, capture_output=True,
    )  # fmt: skip


def exhausted(workers: Workers) -> bool:
    """Whether no job waits or runs."""
    return not len(workers.queue) and not workers.queue.started_job_registry.count


def now() -> float:
    """The clock that jobs note."""
    return time.time()
