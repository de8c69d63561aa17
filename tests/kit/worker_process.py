"""Real worker processes, on a copy of the code with one more feature, whose jobs report to the test."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
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
from tests.kit.processes import marked_processes, start
from tests.kit.repository import replace

JOBS = """
import logging, os, time
from rq import get_current_job
from src.kit.redis import get_redis
from src.probe.version import VERSION

def note_start(number):
    \"\"\"Note the number, version, start (seconds since the epoch) and process of this job.\"\"\"
    started = get_current_job().started_at.timestamp()
    get_redis().rpush("began", f"{number} {VERSION} {started} {os.getpid()}")

def note(number, seconds=0):
    \"\"\"Note the start; after so many seconds, note the end.\"\"\"
    note_start(number)
    time.sleep(seconds)
    get_redis().rpush("ended", number)

def wait_for_word(number):
    \"\"\"Note the start, wait for a key `end`, note the end.\"\"\"
    note_start(number)
    while not get_redis().exists("end"):
        time.sleep(0.01)
    get_redis().rpush("ended", number)

def die():
    \"\"\"Kill the process of the job.\"\"\"
    os.kill(os.getpid(), 9)

def say(words):
    \"\"\"Write a line to the log.\"\"\"
    logging.getLogger("src.probe").info(words)

def note_failure(job, connection, kind, error, trace):
    \"\"\"A failure callback.\"\"\"
    logging.getLogger("src.probe").info("failure callback")
"""


@dataclass(frozen=True)
class Begun:
    """A job that has started; `at` is when, in seconds since the epoch."""

    number: int
    version: int
    at: float
    pid: int


class Workers:
    """A copy of the code, an empty Redis, a migrated database, and worker processes on them."""

    def __init__(self, folder: Path, redis_url: str, migrated: Path) -> None:
        self.folder = folder
        self._migrated = migrated
        self.processes: list[subprocess.Popen[bytes]] = []
        self._mark = uuid.uuid4().hex
        self.environment = os.environ | {
            "DATABASE_URL": f"sqlite:///{folder / 'app.db'}",
            "LOG_LEVEL": "debug",
            "WORKER_TEST": self._mark,
        }
        self.use_redis(redis_url)
        for name in ("src", "migrations"):
            shutil.copytree(ROOT / name, folder / name)  # with the bytecode, so that workers start faster
        shutil.copy(ROOT / "pyproject.toml", folder)
        self.migrate()
        (folder / "src" / "probe").mkdir()
        self.save("__init__.py", "")
        self.save("jobs.py", JOBS)
        self.save("version.py", "VERSION = 1\n")

    def use_redis(self, url: str) -> None:
        """Talk to this Redis from now on, and have new workers do so."""
        self.redis = Redis.from_url(url)
        self.queue = Queue("default", connection=self.redis, serializer=JSONSerializer)
        self.environment["REDIS_URL"] = url

    def migrate(self) -> None:
        """Copy a migrated database into the one that the workers use, which they may have open."""
        with (
            closing(sqlite3.connect(self._migrated)) as migrated,
            closing(sqlite3.connect(self.folder / "app.db")) as database,
        ):
            migrated.backup(database)

    def save(self, name: str, content: str) -> None:
        """Write a file of the probe feature."""
        replace(self.folder / "src" / "probe" / name, content)

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker process."""
        command, variables = [sys.executable, "-m", "src.rq_worker"], self.environment | environment
        process = start(command, self.folder / "log", cwd=self.folder, env=variables, start_new_session=True)
        self.processes.append(process)
        return process

    @property
    def log(self) -> str:
        """What all worker processes have logged."""
        return (self.folder / "log").read_text()

    def wait_for_log(self, text: str, count: int = 1, seconds: float = 20) -> None:
        """Wait until a text has been logged so many times."""
        wait_until(lambda: self.log.count(text) >= count, seconds, f"{text!r} in {self.log[-3000:]}")

    def enqueue(self, function: str, *arguments: Any, tries: int = 1) -> Job:
        """Enqueue a job of the probe feature."""
        retry = Retry(max=tries - 1) if tries > 1 else None
        return self.queue.enqueue(f"src.probe.jobs.{function}", *arguments, retry=retry, result_ttl=600)

    @property
    def begun(self) -> list[Begun]:
        """All jobs that have started, in order."""
        lines: Any = self.redis.lrange("began", 0, -1)
        fields = [line.decode().split() for line in lines]
        return [Begun(int(n), int(version), float(at), int(pid)) for n, version, at, pid in fields]

    @property
    def ended(self) -> list[int]:
        """The numbers of all jobs that have finished, in order."""
        lines: Any = self.redis.lrange("ended", 0, -1)
        return [int(line) for line in lines]

    def wait_for_begun(self, number: int, seconds: float = 20) -> Begun:
        """Wait until a job has started."""
        found = wait_until(
            lambda: [job for job in self.begun if job.number == number],
            seconds,
            f"job {number}: {self.log[-3000:]}",
        )
        return found[-1]

    def hashes(self) -> set[bytes]:
        """The keys of the hashes of all workers that Redis knows, dead ones included."""
        keys: Any = self.redis.smembers("rq:workers")
        return set(keys)

    def registered(self) -> list[dict[str, str]]:
        """The hashes of the workers that are registered and alive."""
        hashes: list[Any] = [
            self.redis.hgetall(key) | {b"name": key.removeprefix(b"rq:worker:")} for key in self.hashes()
        ]
        decoded = [{name.decode(): value.decode() for name, value in fields.items()} for fields in hashes]
        return [fields for fields in decoded if "birth" in fields and "death" not in fields]

    def let_time_pass(self) -> None:
        """Make every job that runs, or is on its way to a worker, look as if it had been there for a day."""
        running = self.queue.started_job_registry.key
        members: list[Any] = self.redis.zrange(running, 0, -1)
        for member in members:
            self.redis.zadd(running, {member: 1}, xx=True)
        seen = f"{self.queue.intermediate_queue_key}:seen"
        ids: Any = self.redis.hkeys(seen)
        for job_id in ids:
            self.redis.hincrbyfloat(seen, job_id, -86_400)
        self.redis.delete(f"rq:maintenance:{self.queue.name}")

    def running(self) -> list[psutil.Process]:
        """All processes of these workers, whatever their parent is."""
        return marked_processes("WORKER_TEST", self._mark)

    def kill_all(self) -> None:
        """Kill whatever a test left running."""
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
def workers(tmp_path: Path, redis_url: str, sqlite_template: Path) -> Iterator[Workers]:
    """Everything that a worker needs, with a copy of the code that the test may change."""
    workers = Workers(tmp_path, redis_url, sqlite_template)
    yield workers
    workers.kill_all()


def exhausted(workers: Workers) -> bool:
    """Whether no job is waiting or running."""
    return not len(workers.queue) and not workers.queue.started_job_registry.count
