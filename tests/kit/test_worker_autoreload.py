"""The worker with reload: no job is lost, fails or runs twice, and none starts on old code later."""

import os
import re
import signal
import threading
from datetime import datetime

import psutil
import pytest

from tests.conftest import wait_until
from tests.kit.worker_process import Workers, exhausted, stop

pytestmark = pytest.mark.slow

CHANGED = "CODE CHANGED - Restarting worker to load new code"


@pytest.fixture
def supervised(workers: Workers) -> Workers:
    workers.start(RQ_WORKER_AUTORELOAD="true")
    workers.wait_for_log("New worker at work")
    return workers


@pytest.mark.parametrize("saves", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_saves_under_a_stream_of_jobs_lose_nothing_and_old_code_ends_at_the_hand_over(
    supervised: Workers, saves: int
) -> None:
    stopping = threading.Event()
    count = 0

    def enqueue_all_the_time() -> None:
        nonlocal count
        while not stopping.wait(0.04):
            if len(supervised.queue) > 50:  # a busy machine need not run them any faster
                continue
            count += 1
            supervised.enqueue("note", count, 0.2 if count % 50 == 0 else 0)

    stream = threading.Thread(target=enqueue_all_the_time)
    stream.start()
    for version in range(2, 2 + saves):
        before = supervised.log.count(CHANGED)
        if version % 4 == 0:
            supervised.save("version.py", "VERSION = (\n")
            supervised.wait_for_log("Code can't be loaded", version // 4)
        supervised.save("version.py", f"VERSION = {version}\n")
        supervised.wait_for_log(CHANGED, before + 1)
    stopping.set()
    stream.join()
    wait_until(lambda: exhausted(supervised), 30)
    wait_until(lambda: len(supervised.ended) >= count, 10)
    assert sorted(supervised.ended) == list(range(1, count + 1))
    assert supervised.queue.failed_job_registry.count == 0
    logged = [
        datetime.strptime(found, "%Y-%m-%d %H:%M:%S,%f").timestamp()  # noqa: DTZ007  local time, as the log has it
        for found in re.findall(rf"^(\S+ \S+) .*{CHANGED}", supervised.log, re.MULTILINE)
    ]
    for job in supervised.begun:
        handed_over = sum(at < job.at - 0.001 for at in logged)  # the log has milliseconds
        assert job.version >= 1 + handed_over, f"{job} started after the hand-over to {1 + handed_over}"
    assert stop(supervised.processes[0]) == 0
    assert supervised.running() == []


def test_a_long_job_finishes_on_old_code_while_new_code_works(supervised: Workers) -> None:
    supervised.enqueue("wait_for_word", 1)
    old = supervised.wait_for_begun(1)
    supervised.save("version.py", "VERSION = 2\n")
    supervised.wait_for_log(CHANGED)
    supervised.enqueue("note", 2)
    assert supervised.wait_for_begun(2).version == 2
    supervised.save("version.py", "VERSION = 3\n")
    supervised.wait_for_log(CHANGED, 2)
    states = wait_until(
        lambda: [w for w in (sorted(w["state"] for w in supervised.registered()),) if len(w) == 2]
    )
    assert states[0] == ["busy", "idle"]
    assert psutil.pid_exists(old.pid)
    supervised.redis.set("end", 1)
    wait_until(lambda: 1 in supervised.ended)
    wait_until(lambda: len(supervised.registered()) == 1, what="the old one to leave")
    assert stop(supervised.processes[0]) == 0


def test_a_killed_supervisor_lets_the_job_finish_and_leaves_no_worker(supervised: Workers) -> None:
    supervised.enqueue("wait_for_word", 1)
    supervised.wait_for_begun(1)
    supervised.processes[0].kill()
    supervised.wait_for_log("stopping, after the running job")
    supervised.redis.set("end", 1)
    wait_until(lambda: supervised.ended == [1])
    wait_until(lambda: not supervised.running(), what="all processes to end")
    assert supervised.registered() == []


def test_a_killed_generation_is_replaced_and_its_job_taken_up_again(supervised: Workers) -> None:
    supervised.enqueue("wait_for_word", 1, tries=3)
    job = supervised.wait_for_begun(1)
    supervised.redis.set("end", 0)
    os.kill(psutil.Process(job.pid).ppid(), signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(job.pid), what="the job to die with it")
    supervised.wait_for_log("was killed (SIGKILL): starting it again")
    supervised.enqueue("note", 2)
    supervised.wait_for_begun(2)
    supervised.let_time_pass()
    wait_until(lambda: 1 in supervised.ended, 60, "the second try")
    assert stop(supervised.processes[0]) == 0


def test_a_signal_lets_the_jobs_of_all_generations_finish(supervised: Workers) -> None:
    supervised.enqueue("wait_for_word", 1)
    supervised.wait_for_begun(1)
    supervised.save("version.py", "VERSION = 2\n")
    supervised.wait_for_log(CHANGED)
    supervised.enqueue("wait_for_word", 2)
    supervised.wait_for_begun(2)
    os.killpg(supervised.processes[0].pid, signal.SIGINT)
    supervised.wait_for_log("running work is finished first")
    supervised.redis.set("end", 1)
    assert supervised.processes[0].wait(20) == 0
    assert sorted(supervised.ended) == [1, 2]
    assert supervised.running() == []
