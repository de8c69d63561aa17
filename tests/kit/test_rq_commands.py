"""RQ's commands, and its options of a worker, work with our worker, too."""

import subprocess
import time
import uuid

import pytest
from rq import Queue, Worker
from rq.command import send_shutdown_command
from rq.job import Job, JobStatus
from rq.suspension import resume, suspend

from tests.conftest import wait_until
from tests.kit.rq_stack import WORKER, enqueue, rq, rq_command, stack, text, wait_for_end
from tests.kit.worker_process import Workers

__all__ = ["stack"]

pytestmark = pytest.mark.slow  # as in test_rq_features.py


def test_suspend_and_resume(stack: Workers) -> None:
    suspend(stack.redis)
    try:
        first = enqueue(stack, "add", 1, 2)  # the worker waits for a job already, and so takes this one
        wait_until(lambda: stack.registered()[0].get("state") == "suspended", 10, "the worker to notice")
        second = enqueue(stack, "add", 1, 2)
        assert "suspended" in rq(stack, "info")
        assert second.get_status() == JobStatus.QUEUED
    finally:
        resume(stack.redis)
    wait_for_end(first)
    wait_for_end(second)


def test_rq_info_shows_the_worker_and_its_queue(stack: Workers) -> None:
    said = rq(stack, "info")
    assert "1 workers" in said
    assert "default" in said


def test_burst_ends_once_the_queue_is_empty(stack: Workers) -> None:
    queue = Queue(uuid.uuid4().hex, connection=stack.redis, serializer="json")
    jobs = [enqueue(stack, "add", n, 1, queue=queue) for n in range(3)]
    rq(stack, "worker", *WORKER, "--burst", queue.name)
    assert [job.return_value() for job in jobs] == [1, 2, 3]


def test_max_jobs(stack: Workers) -> None:
    queue = Queue(uuid.uuid4().hex, connection=stack.redis, serializer="json")
    for n in range(3):
        enqueue(stack, "add", n, 1, queue=queue)
    rq(stack, "worker", *WORKER, "--max-jobs", "2", queue.name)
    assert len(queue) == 1


def test_a_worker_pool(stack: Workers) -> None:
    queue = Queue(uuid.uuid4().hex, connection=stack.redis, serializer="json")
    jobs = [enqueue(stack, "add", n, 1, queue=queue) for n in range(4)]
    rq(stack, "worker-pool", *WORKER, "--burst", "-n", "2", queue.name)
    assert [job.return_value() for job in jobs] == [1, 2, 3, 4]


def test_a_job_in_a_queue_that_was_renamed_runs(stack: Workers) -> None:
    queue = Queue(uuid.uuid4().hex, connection=stack.redis, serializer="json")
    renamed = Queue(uuid.uuid4().hex, connection=stack.redis, serializer="json")
    job = enqueue(stack, "add", 1, 2, queue=queue)
    stack.redis.rename(queue.key, renamed.key)
    rq(stack, "worker", *WORKER, "--burst", renamed.name)
    assert job.return_value() == 3
    assert renamed.intermediate_queue.get_job_ids() == []


def test_max_idle_time(stack: Workers) -> None:
    began = time.monotonic()
    rq(stack, "worker", *WORKER, "--max-idle-time", "1", uuid.uuid4().hex)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("options", [(), ("--disable-job-desc-logging",)])
def test_jobs_that_cant_be_read_fail_and_the_worker_goes_on(stack: Workers, options: tuple[str, ...]) -> None:
    queue = Queue(uuid.uuid4().hex, connection=stack.redis, serializer="json")
    no_arguments, no_date, good = (enqueue(stack, "add", 1, 2, queue=queue) for _ in range(3))
    stack.redis.hset(no_arguments.key, "data", "no JSON")
    stack.redis.hset(no_date.key, "created_at", "no date")
    rq(stack, "worker", *WORKER, *options, "--burst", queue.name)
    assert good.return_value() == 3
    assert set(queue.failed_job_registry.get_job_ids()) == {no_arguments.id, no_date.id}


def test_abandoned_jobs_go_to_the_exception_handlers(stack: Workers) -> None:
    queue = Queue(uuid.uuid4().hex, connection=stack.redis, serializer="json")
    cant_be_read, abandoned = (enqueue(stack, "add", 1, 2, queue=queue) for _ in range(2))
    stack.redis.hset(cant_be_read.key, "created_at", "no date")
    stack.redis.delete(queue.key)
    for score, job in enumerate((cant_be_read, abandoned)):
        stack.redis.hset(job.key, "status", "started")
        stack.redis.zadd(queue.started_job_registry.key, {f"{job.id}:its-execution": score})
    handler = ["--exception-handler", "src.probe.jobs.note_exception", "--maintenance-interval", "10"]
    rq(stack, "worker", *WORKER, *handler, "--max-idle-time", "6", queue.name)
    assert text(stack, f"callback:{abandoned.id}") == "AbandonedJobError"
    assert set(queue.failed_job_registry.get_job_ids()) == {cant_be_read.id, abandoned.id}


CRON = """
from rq import cron
from src.probe.jobs import add
cron.register(add, "default", args=(1, 2), interval=1)
"""


def test_rqs_cron_command_enqueues_jobs_that_the_worker_reads(stack: Workers) -> None:
    (stack.folder / "cron_jobs.py").write_text(CRON)
    finished = stack.queue.finished_job_registry
    before = finished.count
    scheduler = subprocess.Popen(rq_command("cron", "cron_jobs.py"), cwd=stack.folder, env=stack.environment)
    try:
        wait_until(lambda: finished.count >= before + 2, what="two jobs of cron")
    finally:
        scheduler.kill()
        scheduler.wait()


def test_rqs_enqueue_command_enqueues_a_job_that_the_worker_reads(stack: Workers) -> None:
    job_id = uuid.uuid4().hex
    rq(stack, "enqueue", "--job-id", job_id, "src.probe.jobs.add", ":1", ":2")
    job = Job.fetch(job_id, stack.redis, serializer=stack.queue.serializer)
    assert wait_for_end(job).return_value() == 3


def test_a_worker_shuts_down_on_command(stack: Workers) -> None:
    process = stack.start()
    wait_until(
        lambda: [fields.get("state") for fields in stack.registered()] == ["idle"] * 2, what="two workers"
    )
    (worker,) = [worker for worker in Worker.all(stack.redis) if worker.pid == process.pid]
    send_shutdown_command(stack.redis, worker.name)
    assert process.wait(10) == 0
