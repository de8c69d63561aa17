"""A job that ran into its time limit is tried again only if its options say so."""

import os
import signal
import time

import pytest
from alembic import command
from alembic.config import Config
from redis import Redis
from rq import Retry, SimpleWorker
from rq.job import JobStatus

from src.kit.queue.enqueue import enqueue, get_queue, job
from src.kit.queue.job import RobustJob
from src.kit.redis import get_redis
from tests.conftest import ROOT, wait_until
from tests.kit.worker_process import Workers


def run_for_ever(how: str) -> None:
    """Note the attempt, then run into the time limit; the error says so, or has it as a cause."""
    get_redis().incr("attempts")
    try:
        while True:
            time.sleep(0.01)
    except Exception as error:
        if how == "wrapped":
            raise RuntimeError("the clean-up failed") from error
        raise


@job(timeout=1, backoff=[0])
def overrun(how: str) -> None:
    """Has the retries of `JOB_RETRIES`."""
    run_for_ever(how)


@job(timeout=1, backoff=[0], retries=1, retry_timeouts=True)
def overrun_twice(how: str) -> None:
    """Is tried again after a timeout, too."""
    run_for_ever(how)


def run_all() -> None:
    """Run what is in the queue, in this process."""
    SimpleWorker(
        [get_queue()], connection=get_redis(), serializer=get_queue().serializer, job_class=RobustJob
    ).work(burst=True)


@pytest.mark.parametrize(
    ("function", "how", "attempts"),
    [(overrun, "raised", 1), (overrun, "wrapped", 1), (overrun_twice, "raised", 2)],
)
def test_a_timeout_is_tried_again_only_if_the_options_say_so(
    stack: dict[str, str], function: object, how: str, attempts: int
) -> None:
    timed_out = enqueue(function, how)  # type: ignore[arg-type]
    run_all()
    assert timed_out.get_status() == JobStatus.FAILED
    assert int(Redis.from_url(stack["REDIS_URL"])["attempts"]) == attempts


def test_a_timeout_while_the_database_has_a_problem_is_tried_again(stack: dict[str, str]) -> None:
    command.downgrade(Config(toml_file=ROOT / "pyproject.toml"), "base")
    timed_out = enqueue(overrun, "raised")
    run_all()
    assert timed_out.get_status() == JobStatus.FAILED
    assert int(Redis.from_url(stack["REDIS_URL"])["attempts"]) == 4


IGNORES_ITS_LIMIT = """
import os, time
from src.kit.redis import get_redis

def ignore():
    try:
        while True:
            time.sleep(0.01)
    except Exception:
        get_redis().set("over", os.getpid())
    while True:
        time.sleep(0.01)
"""


def test_a_job_that_ignores_its_time_limit_is_not_tried_again_after_it_was_killed(workers: Workers) -> None:
    workers.save("jobs.py", IGNORES_ITS_LIMIT)
    workers.start()
    stubborn = workers.queue.enqueue("src.probe.jobs.ignore", job_timeout=1, retry=Retry(max=2))
    pid = wait_until(lambda: workers.redis.get("over"), what=workers.log[-2000:])
    assert isinstance(pid, bytes)
    os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: stubborn.get_status() == JobStatus.FAILED, what=workers.log[-2000:])
    result = stubborn.latest_result()
    assert result
    assert "it had not ended after 1 s, its time limit" in str(result.exc_string)
