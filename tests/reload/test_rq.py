"""`python -m src.reload rq worker …`: RQ's command line, with a hand-over that loses no job."""

import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from redis import Redis
from rq import Queue, Worker

from src.reload.rq_reload import LONGEST_WAIT
from tests.conftest import ROOT, wait_until
from tests.reload.program import CHANGED, Program

pytestmark = pytest.mark.slow

JOBS = """
import os
from redis import Redis
from pkg.version import VERSION

redis = Redis.from_url(os.environ["RQ_REDIS_URL"])

def note(number):
    redis.rpush("ran", f"{number} {VERSION}")

def wait(number):
    redis.rpush("waits", VERSION)
    redis.blpop("go", 30)
    note(number)
"""

Start = Callable[..., Program]


@pytest.fixture
def redis(redis_url: str) -> Iterator["Redis"]:
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        yield redis


@pytest.fixture
def queue(redis_url: str) -> Queue:
    return Queue("high", connection=Redis.from_url(redis_url))


@pytest.fixture
def start(program: Program, redis_url: str) -> Start:
    """Starts the worker of the README with these options."""

    def start(*options: str) -> Program:
        program.save("jobs.py", JOBS)
        readme = (ROOT / "src" / "reload" / "README.md").read_text()
        (command,) = re.findall("^python (-m src.reload .* rq worker) (.*)$", readme, re.MULTILINE)
        reload, queues = (part.replace("app", "pkg").split() for part in command)
        program.run([sys.executable, *reload, *options, *queues], RQ_REDIS_URL=redis_url)
        program.wait_for_log("New worker at work")
        return program

    return start


def test_a_running_job_is_finished_by_the_old_code_and_the_next_one_runs_on_the_new(
    start: Start, redis: "Redis", queue: Queue
) -> None:
    program = start("--name", "joe")
    queue.enqueue("pkg.jobs.wait", 1)
    wait_until(lambda: redis.llen("waits"), what="the job to start")
    program.save("version.py", "VERSION = 2\n")
    program.wait_for_log(CHANGED)
    queue.enqueue("pkg.jobs.note", 2)
    wait_until(lambda: redis.lrange("ran", 0, -1) == ["2 2"], what="the job on new code")
    redis.rpush("go", 1)
    wait_until(lambda: redis.lrange("ran", 0, -1) == ["2 2", "1 1"], what="the end of the job on old code")
    wait_until(lambda: Worker.count(queue.connection) == 1, what="the old worker to leave")
    assert Worker.all(queue.connection)[0].name.startswith("joe-")


SPAWNS = pytest.param("rq.worker.SpawnWorker", 0.5, marks=pytest.mark.slow)  # it imports all in each job


@pytest.mark.parametrize(("worker", "pause"), [("rq.Worker", 0.05), ("rq.SimpleWorker", 0.05), SPAWNS])
def test_no_job_is_lost_or_run_twice_by_hand_overs(
    start: Start, redis: "Redis", queue: Queue, worker: str, pause: float
) -> None:
    program = start("--worker-class", worker)
    queues, enqueued, stop = [queue, Queue("default", connection=queue.connection)], [0], threading.Event()

    def enqueue() -> None:
        while not stop.wait(pause):
            queues[enqueued[0] % 2].enqueue("pkg.jobs.note", enqueued[0])
            enqueued[0] += 1

    thread = threading.Thread(target=enqueue)
    thread.start()
    try:
        for version in range(2, 7):
            program.save("version.py", f"VERSION = {version}\n")
            program.wait_for_log(CHANGED, version - 1, seconds=30)
    finally:
        stop.set()
        thread.join()
    wait_until(lambda: redis.llen("ran") >= enqueued[0], 120, "all jobs to run")
    ran = [each.split() for each in redis.lrange("ran", 0, -1)]
    assert sorted(int(number) for number, _ in ran) == list(range(enqueued[0]))
    assert not list(redis.scan_iter("*intermediate*"))
    queue.enqueue("pkg.jobs.note", "last")
    wait_until(lambda: redis.lrange("ran", -1, -1) == ["last 6"], what="the last version")


def test_code_that_can_not_be_imported_never_takes_over(start: Start, redis: "Redis", queue: Queue) -> None:
    program = start()
    program.save("version.py", "VERSION = (\n")
    program.wait_for_log(
        "Code can't be loaded, the last good code keeps working: pkg/version.py:1: SyntaxError"
    )
    queue.enqueue("pkg.jobs.note", 1)
    wait_until(lambda: redis.lrange("ran", 0, -1) == ["1 1"], what="the last good code")


def test_the_new_worker_becomes_the_scheduler(start: Start, redis: "Redis", queue: Queue) -> None:
    program = start("--with-scheduler")
    queue.enqueue("pkg.jobs.wait", 1)  # the old worker lives on, but no longer schedules
    wait_until(lambda: redis.llen("waits"), what="the job to start")
    program.save("version.py", "VERSION = 2\n")
    program.wait_for_log(CHANGED)
    queue.enqueue_in(timedelta(seconds=1), "pkg.jobs.note", 2)
    wait_until(lambda: redis.lrange("ran", 0, -1) == ["2 2"], what="the scheduled job")
    redis.rpush("go", 1)


def test_an_idle_worker_stops_at_once_and_a_second_signal_kills_a_job(
    start: Start, redis: "Redis", queue: Queue
) -> None:
    program = start()

    def has_just_begun_to_wait() -> bool:
        return any(each["cmd"] == "blpop" and each["idle"] == "0" for each in redis.client_list())

    for version in (2, 3, 4):
        wait_until(has_just_begun_to_wait, what="a wait that is not about to end by itself")
        program.save("version.py", f"VERSION = {version}\n")
        program.wait_for_log(CHANGED, version - 1)
    seconds = [float(found) for found in re.findall("New worker at work after (.*) s", program.log)]
    assert min(seconds[1:]) < LONGEST_WAIT / 2
    queue.enqueue("pkg.jobs.wait", 1)
    wait_until(lambda: redis.lrange("waits", 0, -1) == ["4"], what="the job to start")
    program.signal(signal.SIGTERM)
    program.insist(signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM
    wait_until(lambda: not program.processes(), what="the end of all processes")


def test_a_redis_that_is_away_is_waited_for_and_a_wrong_option_is_not(program: Program) -> None:
    reload = [sys.executable, "-m", "src.reload", "rq", "worker"]
    program.run([*reload, "--url", "redis://127.0.0.1:1"])
    program.wait_for_log("The worker ended by itself (exit code 1): starting it again in 0.2 s")
    program.signal(signal.SIGTERM)
    assert program.wait() == 0
    program.run([*reload, "--no-such-option"])
    assert program.wait() == 2
    assert "Usage: rq worker" in program.log
