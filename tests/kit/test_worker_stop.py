"""The worker without reload stops without losing a job, and takes up what a killed one left behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from src.kit.queue import live_worker, maintenance
from tests.conftest import wait_until
from tests.kit.worker_process import Workers, exhausted, stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_finish(workers: Workers, number: signal.Signals) -> None:
    process = workers.start()
    workers.enqueue("wait_for_word", 1)
    workers.wait_for_begun(1)
    os.killpg(process.pid, number)  # the whole group, as a terminal does it
    workers.wait_for_log("stopping, after the running job")
    workers.enqueue("note", 2)
    workers.redis.set("end", 1)
    assert process.wait(20) == 0
    assert workers.ended == [1]
    assert len(workers.queue) == 1
    assert workers.running() == []
    assert workers.registered() == []


@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_no_job_is_stranded_whenever_the_signal_comes(workers: Workers, rounds: int) -> None:
    number = 0
    for round_ in range(rounds):
        process = workers.start()
        wait_until(workers.registered, what="the worker")
        for _ in range(15 + 7 * round_):
            number += 1
            workers.enqueue("note", number)
            time.sleep(0.002)  # a steady stream of work, not a wait
        assert stop(process) == 0
        assert workers.redis.llen(workers.queue.intermediate_queue_key) == 0
        assert workers.queue.started_job_registry.count == 0
    last = workers.start()
    wait_until(lambda: exhausted(workers), 180, "all jobs to run")
    assert stop(last) == 0
    assert sorted(workers.ended) == list(range(1, number + 1))


BURSTS = """
from src.kit.queue.worker import RobustWorker
from src.kit.redis import get_redis

worker = RobustWorker(["default"], connection=get_redis())
for _ in range(30):
    worker.work(burst=True)
"""


def test_the_end_of_a_burst_is_no_request_to_stop(workers: Workers) -> None:
    command = [sys.executable, "-c", BURSTS]
    result = subprocess.run(
        command, cwd=workers.folder, env=workers.environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "stopping" not in result.stdout
    assert result.stdout.count("done, quitting") == 30


@pytest.mark.slow  # it waits for maintenance
def test_a_second_signal_kills_the_job_and_another_worker_runs_it_again(workers: Workers) -> None:
    process = workers.start()
    workers.enqueue("wait_for_word", 1, tries=3)
    job = workers.wait_for_begun(1)
    process.send_signal(signal.SIGTERM)
    workers.wait_for_log("stopping, after the running job")

    def insist() -> bool:  # a signal right after the first one counts as the same
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    wait_until(insist)
    assert process.returncode == 128 + signal.SIGTERM
    wait_until(lambda: not psutil.pid_exists(job.pid), what="the job's process to end")
    workers.redis.set("end", 1)
    workers.let_time_pass()
    process = workers.start()
    wait_until(lambda: workers.ended == [1], 60, "the second try")
    assert stop(process) == 0


@pytest.mark.slow  # it waits for the grace period
def test_a_job_that_outlasts_the_stop_is_killed_in_time_and_another_worker_runs_it_again(
    workers: Workers,
) -> None:
    process = workers.start(WORKER_STOP_GRACE_PERIOD="12s", JOB_TIMEOUT="1")
    workers.enqueue("wait_for_word", 1, tries=3)
    workers.wait_for_begun(1)
    assert stop(process) == 0
    assert "has not ended in 2 s: killed" in workers.log
    assert len(workers.queue) == 1
    workers.redis.set("end", 1)
    process = workers.start()
    wait_until(lambda: workers.ended == [1], 20, "the second try")
    assert stop(process) == 0


@pytest.mark.slow  # it waits for two rounds of maintenance
def test_what_a_killed_worker_leaves_behind_is_taken_up_again(workers: Workers) -> None:
    process = workers.start()
    workers.enqueue("wait_for_word", 1, tries=3)
    job = workers.wait_for_begun(1)
    process.kill()
    wait_until(lambda: not psutil.pid_exists(job.pid), what="the job to die with its worker")
    workers.enqueue("note", 2)
    workers.redis.lmove(workers.queue.key, workers.queue.intermediate_queue_key)  # taken and not begun
    workers.redis.set("end", 1)
    others = [workers.start()]
    seen = f"{workers.queue.intermediate_queue_key}:seen"
    wait_until(lambda: workers.redis.exists(seen), what="the first maintenance")
    [lost] = [key for key in workers.hashes() if workers.redis.hget(key, "pid") == b"%d" % process.pid]
    workers.redis.expire(lost, 0)  # as it does by itself, some time after the last heartbeat
    workers.let_time_pass()
    others.append(workers.start())  # its maintenance comes after a second, that of the other after ten
    wait_until(lambda: sorted(workers.ended) == [1, 2], 60, "both jobs")
    wait_until(lambda: len(workers.hashes()) == 2, what="the lost worker to be forgotten")
    assert [stop(other) for other in others] == [0, 0]


def test_that_takes_less_than_a_minute() -> None:
    look = maintenance.INTERVAL + live_worker.POP_TIMEOUT
    assert live_worker.TIME_TO_LIVE + look < 60
    assert maintenance.STRANDED_AFTER + 2 * look < 60
