"""A worker process, on which RQ's features are tried, and the jobs for them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job, JobStatus

from tests.conftest import wait_until
from tests.kit.redis_server import running_redis
from tests.kit.worker_process import Workers, stop

JOBS = """
import os, time
from rq import Retry, get_current_job
from src.kit.redis import get_redis

def add(a, b):
    return a + b

async def add_async(a, b):
    return a + b

def fail():
    raise ValueError("on purpose")

def fail_once():
    if get_redis().incr(get_current_job().id) == 1:
        raise ValueError("on purpose")
    return "done"

def ask_for_a_retry():
    return Retry(max=1) if get_redis().incr(get_current_job().id) == 1 else "done"

def wait_for(key):
    while not get_redis().exists(key):
        time.sleep(0.01)

def sum_of_dependencies():
    return sum(job.return_value() for job in get_current_job().fetch_dependencies())

def environment():
    return [os.environ["RQ_JOB_ID"], os.environ["RQ_WORKER_ID"]]

def keep_in_meta(word):
    job = get_current_job()
    job.meta["word"] = word
    job.save_meta()

def succeeded(job, connection, result):
    connection.set(f"callback:{job.id}", result)

def failed(job, connection, kind, error, trace):
    connection.set(f"callback:{job.id}", str(error))

def stopped(job, connection):
    connection.set(f"callback:{job.id}", "stopped")

def note_exception(job, kind, error, trace):
    job.connection.set(f"callback:{job.id}", kind.__name__)
"""
WORKER = ["-w", "src.kit.queue.worker.RobustWorker", "-S", "json"]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path) -> Iterator[Workers]:
    """One worker for all tests of this module; what they enqueue has ids of its own."""
    folder = tmp_path_factory.mktemp("features")
    (folder / "redis").mkdir()
    with running_redis(folder / "redis") as url:
        stack = Workers(folder, url, sqlite_template)
        stack.save("jobs.py", JOBS)
        process = stack.start()
        wait_until(stack.registered, what="the worker")
        yield stack
        stop(process)
        stack.kill_all()


def enqueue(stack: Workers, function: str, *args: Any, queue: Queue | None = None, **options: Any) -> Job:
    return (queue or stack.queue).enqueue(f"src.probe.jobs.{function}", *args, **options)


def wait_for_end(job: Job, status: JobStatus = JobStatus.FINISHED) -> Job:
    wait_until(lambda: job.get_status() == status, 10, f"{status}, but it is {job.get_status()}")
    job.refresh()  # type: ignore[no-untyped-call]
    return job


def error_of(job: Job) -> str:
    result = job.latest_result()
    return (result and result.exc_string) or ""


def text(stack: Workers, key: str) -> str | None:
    value: Any = stack.redis.get(key)
    return value.decode() if value is not None else None


def rq_command(name: str, *arguments: str) -> list[str]:
    """The command line of one of RQ's commands."""
    return [sys.executable, "-m", "rq.cli", name, "-c", "src.kit.queue.rq_config", *arguments]


def rq(stack: Workers, name: str, *arguments: str) -> str:
    """The output of one of RQ's commands, run in the folder of the worker's code."""
    result = subprocess.run(
        rq_command(name, *arguments), cwd=stack.folder, env=stack.environment,
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr
