"""Several queues: served by priority, none of their jobs lost, started at once on each of them."""

from itertools import cycle

import pytest
from redis import Redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import as_text

from src.kit.queue.blocking_pop import BlockingPop
from src.kit.queue.enqueue import JobOptions, enqueue
from src.reload.wakeup import Wakeup
from tests.conftest import wait_until
from tests.kit.worker_process import Workers, stop

NAMES = ("high", "default", "low")


@pytest.fixture
def queues(redis_url: str) -> list[Queue]:
    redis = Redis.from_url(redis_url)
    return [Queue(name, connection=redis, serializer=JSONSerializer) for name in NAMES]


def test_the_queues_are_served_by_priority(workers: Workers, queues: list[Queue]) -> None:
    numbers = range(9)
    for number, queue in zip(numbers, cycle(reversed(queues)), strict=False):
        queue.enqueue("src.probe.jobs.note", number)
    process = workers.start()
    wait_until(lambda: len(workers.ended) == len(numbers), what=workers.log[-2000:])
    assert workers.ended == [2, 5, 8, 1, 4, 7, 0, 3, 6]
    assert stop(process) == 0


def test_a_waiting_worker_takes_a_job_from_any_queue_and_a_worker_may_serve_some(
    workers: Workers, queues: list[Queue]
) -> None:
    process = workers.start(RQ_QUEUES="default low")
    wait_until(workers.registered)
    for number, queue in enumerate(queues):
        queue.enqueue("src.probe.jobs.note", number)
    wait_until(lambda: sorted(workers.ended) == [1, 2], what="the jobs of its two queues")
    assert queues[0].count == 1
    assert stop(process) == 0


@pytest.mark.slow  # it starts three workers
def test_one_of_several_workers_stays_free_of_the_last_queue_while_others_serve_it(
    workers: Workers, queues: list[Queue]
) -> None:
    processes = [workers.start() for _ in range(3)]
    workers.wait_for_log("stays free of jobs in low")
    for number in range(3):
        queues[2].enqueue("src.probe.jobs.wait_for_word", number)
    wait_until(lambda: len(workers.begun) == 2, what="two long jobs")
    for number in (3, 4):
        queues[1].enqueue("src.probe.jobs.note", number)
    wait_until(lambda: workers.ended == [3, 4], what="what is urgent")
    assert queues[2].count == 1
    workers.redis.set("end", 1)
    wait_until(lambda: sorted(workers.ended) == [0, 1, 2, 3, 4], what="the third long job")
    spare = as_text(workers.redis.get("rq:spare:low") or b"")
    spare_pid = next(int(worker["pid"]) for worker in workers.registered() if worker["name"] == spare)
    assert [stop(process) for process in processes if process.pid != spare_pid] == [0, 0]
    queues[2].enqueue("src.probe.jobs.note", 5)
    wait_until(lambda: workers.ended[5:] == [5], what="a long job once nobody else serves its queue")
    assert [stop(process) for process in processes if process.pid == spare_pid] == [0]


@pytest.mark.slow  # it starts four workers
def test_no_job_is_lost_or_run_twice_by_workers_that_stop_while_jobs_arrive(
    workers: Workers, queues: list[Queue]
) -> None:
    count = 0
    for _ in range(3):
        process = workers.start()
        wait_until(workers.registered)
        for queue in queues * 4:
            queue.enqueue("src.probe.jobs.note", count)
            count += 1
        assert stop(process) == 0
    process = workers.start()
    wait_until(lambda: len(workers.ended) == count, what=workers.log[-2000:])
    assert sorted(workers.ended) == list(range(count))
    assert [workers.redis.llen(queue.intermediate_queue_key) for queue in queues] == [0, 0, 0]
    assert stop(process) == 0


@pytest.fixture
def refusing_unblock(redis_url: str) -> Redis:
    """A client of a Redis whose users may not use CLIENT UNBLOCK, as with some services that manage Redis."""
    admin = Redis.from_url(redis_url)
    admin.acl_setuser(
        "managed", enabled=True, nopass=True, keys=["*"], channels=["*"],
        categories=["+@all"], commands=["-client", "+client|id", "+client|setinfo"],
    )  # fmt: skip
    return Redis.from_url(redis_url, username="managed", password="x")


def test_a_redis_that_refuses_unblock_is_waited_for_in_short_steps(
    refusing_unblock: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    queues = [Queue(name, connection=refusing_unblock) for name in NAMES]
    pop = BlockingPop(refusing_unblock, Wakeup())
    assert pop.pop(queues, 5) is None
    assert "Redis refuses CLIENT UNBLOCK" in caplog.text
    queues[2].push_job_id("one")
    assert pop.pop(queues, 5) == ("one", queues[2])


def test_of_several_jobs_that_arrive_at_once_the_first_is_taken_and_the_others_stay_in_front(
    queues: list[Queue],
) -> None:
    redis = queues[0].connection
    pop = BlockingPop(redis, Wakeup())
    with redis.pipeline() as pipeline:
        for queue in queues:
            for number in range(2):
                pipeline.rpush(queue.key, f"{queue.name}-{number}")
        pipeline.execute()
    taken = [pop.pop(queues, 1) for _ in range(6)]
    assert [job for job, _ in filter(None, taken)] == [
        f"{name}-{number}" for name in NAMES for number in (0, 1)
    ]


def test_a_job_whose_queue_was_renamed_runs_once(workers: Workers, queues: list[Queue]) -> None:
    job = queues[0].enqueue("src.probe.jobs.note", 1)
    workers.redis.rename(queues[0].key, queues[2].key)
    process = workers.start()
    wait_until(lambda: workers.ended == [1], what=workers.log[-2000:])
    wait_until(lambda: job.get_status() == JobStatus.FINISHED)
    assert workers.redis.llen(queues[2].intermediate_queue_key) == 0
    assert stop(process) == 0


def test_a_job_that_can_not_be_read_is_noted_as_failed_and_the_next_one_runs(
    workers: Workers, queues: list[Queue]
) -> None:
    workers.redis.hset(Job.key_for("broken"), mapping={"created_at": "yesterday", "data": b"\0"})
    queues[0].push_job_id("broken")
    queues[0].enqueue("src.probe.jobs.note", 1)
    process = workers.start()
    wait_until(lambda: workers.ended == [1], what=workers.log[-2000:])
    assert queues[0].failed_job_registry.get_job_ids() == ["broken"]
    assert stop(process) == 0


@pytest.mark.parametrize(("retries", "waits"), [(0, []), (2, [1, 10]), (5, [1, 10, 60, 60, 60])])
def test_attempts_back_off_in_order(retries: int, waits: list[int]) -> None:
    retry = JobOptions(retries=retries).retry()
    found = retry.intervals if retry else []
    assert all(0.8 * wait - 1 < each < 1.2 * wait + 1 for each, wait in zip(found, waits, strict=True))


def test_a_queue_that_nobody_serves_is_refused(stack: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="no worker serves the queue 'hihg': RQ_QUEUES is high,default,low"):
        enqueue("src.probe.jobs.note", queue="hihg")
