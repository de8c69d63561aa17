"""Jobs at a time and retries that wait: enqueued once, by one worker at a time, the next one takes over."""

from datetime import timedelta

import pytest
from redis import WatchError
from rq import Queue, Repeat, Retry
from rq.job import JobStatus
from rq.utils import as_text

from src.kit.queue import scheduler
from src.kit.queue.scheduler import Scheduler
from src.reload.wakeup import Wakeup
from tests.conftest import wait_until
from tests.kit.worker_process import Workers, stop


def scheduled_by(workers: Workers, queue: str = "default") -> str:
    """The name of the worker that schedules the queue."""
    return as_text(workers.redis.get(f"rq:scheduler-lock:{queue}") or "")


def test_a_job_at_a_time_a_retry_that_waits_and_a_repetition_run(workers: Workers) -> None:
    process = workers.start()
    workers.queue.enqueue_in(timedelta(seconds=1), "src.probe.jobs.note", 1)
    failing = workers.queue.enqueue("src.probe.jobs.die", retry=Retry(max=2, interval=1))
    workers.queue.enqueue("src.probe.jobs.note", 2, repeat=Repeat(times=2, interval=1))
    wait_until(lambda: sorted(workers.ended) == [1, 2, 2, 2], what=workers.log[-3000:])
    wait_until(lambda: failing.get_status() == JobStatus.FAILED, what=workers.log[-3000:])
    assert workers.log.count("Work-horse terminated unexpectedly") >= 3, "the first attempt and two more"
    result = failing.latest_result()
    assert result
    assert "MiB of memory" in str(result.exc_string)
    assert stop(process) == 0


@pytest.mark.slow  # it waits for the lock
def test_one_worker_schedules_and_another_takes_over_when_it_stops(workers: Workers) -> None:
    first, second = workers.start(), workers.start()
    wait_until(lambda: len(workers.registered()) == 2)
    names = {worker["pid"]: worker["name"] for worker in workers.registered()}
    before = wait_until(lambda: scheduled_by(workers), what="a scheduler")
    leader, other = (first, second) if before == names[str(first.pid)] else (second, first)
    assert stop(leader) == 0
    workers.queue.enqueue_in(timedelta(seconds=1), "src.probe.jobs.note", 1)
    wait_until(lambda: workers.ended == [1], scheduler.LOCK, workers.log[-3000:])
    assert scheduled_by(workers) == names[str(other.pid)]
    assert stop(other) == 0


def test_a_killed_scheduler_is_replaced_within_half_a_minute() -> None:
    assert scheduler.LOCK + 2 * scheduler.PACE < 30


def test_a_scheduler_that_was_held_up_enqueues_nothing_once_another_took_over(workers: Workers) -> None:
    queue = workers.queue
    queue.enqueue_in(timedelta(seconds=-5), "src.probe.jobs.note", 1)
    held_up = Scheduler("held-up", [queue], workers.redis, Wakeup())
    assert held_up._leads(queue.name)
    workers.redis.set("rq:scheduler-lock:default", "another")
    with pytest.raises(WatchError):
        held_up._enqueue_due(queue)
    assert queue.count == 0
    workers.redis.delete("rq:scheduler-lock:default")
    held_up.run_once()
    assert queue.count == 1


def test_a_job_that_can_not_be_read_does_not_stop_the_others(workers: Workers) -> None:
    queue: Queue = workers.queue
    workers.redis.hset("rq:job:broken", mapping={"created_at": "yesterday", "data": b"\0"})
    workers.redis.zadd(queue.scheduled_job_registry.key, {"broken": 1, "gone": 2})
    queue.enqueue_in(timedelta(seconds=-5), "src.probe.jobs.note", 1)
    Scheduler("one", [queue], workers.redis, Wakeup()).run_once()
    assert queue.count == 1
    assert queue.scheduled_job_registry.count == 0
    assert queue.failed_job_registry.get_job_ids() == ["broken"]
