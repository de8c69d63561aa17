"""What RQ documents works with our worker, too: one real worker process, one short test for each feature."""

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue, RateLimit, Repeat, Retry, Webhook, Worker
from rq.command import send_kill_horse_command, send_shutdown_command, send_stop_job_command
from rq.exceptions import DuplicateJobError
from rq.group import Group
from rq.job import Dependency, Job, JobStatus
from rq.suspension import resume, suspend

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
pytestmark = pytest.mark.slow  # they test kit with RQ, which no change of a service breaks
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


def rq(stack: Workers, *arguments: str, timeout: float = 30) -> str:
    """The output of RQ's command, run in the folder of the worker's code."""
    config = ["-c", "src.kit.queue.rq_config"]
    command = [sys.executable, "-m", "rq.cli", arguments[0], *config, *arguments[1:]]
    result = subprocess.run(
        command, cwd=stack.folder, env=stack.environment, capture_output=True, text=True, timeout=timeout
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@contextmanager
def http_requests() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of an HTTP server, and the JSON that it was sent."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", received
        server.shutdown()


def test_results(stack: Workers) -> None:
    job = wait_for_end(enqueue(stack, "add", 1, 2))
    result = job.latest_result()
    assert job.return_value() == 3
    assert result is not None
    assert result.type == result.Type.SUCCESSFUL
    assert result.worker_name == Worker.all(stack.redis)[0].name


def test_a_result_is_kept_as_long_as_it_says(stack: Workers) -> None:
    kept = wait_for_end(enqueue(stack, "add", 1, 2, result_ttl=100))
    discarded = enqueue(stack, "add", 1, 2, result_ttl=0)
    wait_until(lambda: not Job.exists(discarded.id, stack.redis), 10)
    ttl: Any = stack.redis.ttl(kept.key)
    assert 90 < ttl <= 100


def test_an_async_function(stack: Workers) -> None:
    assert wait_for_end(enqueue(stack, "add_async", 1, 2)).return_value() == 3


def test_the_environment_of_a_job_names_it(stack: Workers) -> None:
    job = wait_for_end(enqueue(stack, "environment"))
    assert job.return_value() == [job.id, job.worker_name]


def test_meta(stack: Workers) -> None:
    assert wait_for_end(enqueue(stack, "keep_in_meta", "hello")).meta["word"] == "hello"


def test_a_timeout_ends_a_job(stack: Workers) -> None:
    job = wait_for_end(enqueue(stack, "wait_for", "never", job_timeout=1), JobStatus.FAILED)
    assert "JobTimeoutException" in error_of(job)
    assert job.id in stack.queue.failed_job_registry


def test_dependencies_run_in_order(stack: Workers) -> None:
    word = uuid.uuid4().hex
    first = enqueue(stack, "wait_for", word)
    numbers = [enqueue(stack, "add", 1, 2, depends_on=first), enqueue(stack, "add", 3, 4, depends_on=first)]
    total = enqueue(stack, "sum_of_dependencies", depends_on=numbers)
    assert total.get_status() == JobStatus.DEFERRED
    stack.redis.set(word, 1)
    assert wait_for_end(total).return_value() == 10


def test_a_dependency_that_may_fail(stack: Workers) -> None:
    failed = enqueue(stack, "fail")
    job = enqueue(stack, "add", 1, 2, depends_on=Dependency(failed, allow_failure=True))
    assert wait_for_end(job).return_value() == 3


def test_a_group(stack: Workers) -> None:
    group = Group.create(connection=stack.redis)
    data = [Queue.prepare_data("src.probe.jobs.add", (n, 1)) for n in range(3)]
    for job in group.enqueue_many(stack.queue, data):
        wait_for_end(job)
    fetched = Group.fetch(group.name, stack.redis).get_jobs()
    assert len(fetched) == 3


@pytest.mark.parametrize(
    ("function", "arguments", "said"),
    [("add", (1, 2), "3"), ("fail", (), "on purpose"), ("wait_for", ("never",), "stopped")],
)
def test_callbacks(stack: Workers, function: str, arguments: tuple[Any, ...], said: str) -> None:
    job = enqueue(
        stack,
        function,
        *arguments,
        on_success=Callback("src.probe.jobs.succeeded"),
        on_failure=Callback("src.probe.jobs.failed"),
        on_stopped=Callback("src.probe.jobs.stopped"),
    )
    if said == "stopped":
        wait_until(lambda: job.get_status() == JobStatus.STARTED)
        send_stop_job_command(stack.redis, job.id)
    wait_until(lambda: text(stack, f"callback:{job.id}") == said, 10, said)


def test_a_retry_after_an_error_and_one_that_the_job_asks_for(stack: Workers) -> None:
    assert wait_for_end(enqueue(stack, "fail_once", retry=Retry(max=1))).return_value() == "done"
    assert wait_for_end(enqueue(stack, "ask_for_a_retry")).return_value() == "done"


def test_a_failed_job_is_requeued(stack: Workers) -> None:
    job = wait_for_end(enqueue(stack, "fail_once"), JobStatus.FAILED)
    job.requeue()
    assert wait_for_end(job).return_value() == "done"


def test_repeat(stack: Workers) -> None:
    job = enqueue(stack, "add", 1, 2, repeat=Repeat(times=2, interval=0))
    wait_until(lambda: len(job.results()) == 3, 10, "three results")


def test_a_unique_job(stack: Workers) -> None:
    job = enqueue(stack, "add", 1, 2, job_id=uuid.uuid4().hex, unique=True)
    with pytest.raises(DuplicateJobError):
        enqueue(stack, "add", 1, 2, job_id=job.id, unique=True)
    wait_for_end(job).delete()
    wait_for_end(enqueue(stack, "add", 1, 2, job_id=job.id, unique=True))


def test_a_rate_limit(stack: Workers) -> None:
    word = uuid.uuid4().hex
    limit = RateLimit(key=word, concurrency=1)
    first = enqueue(stack, "wait_for", word, rate_limit=limit)
    second = enqueue(stack, "fail", rate_limit=limit)
    third = enqueue(stack, "add", 1, 2, rate_limit=limit)
    assert second.get_status() == JobStatus.RATE_LIMITED
    stack.redis.set(word, 1)
    wait_for_end(first)
    wait_for_end(second, JobStatus.FAILED)
    assert wait_for_end(third).return_value() == 3


def test_webhooks(stack: Workers) -> None:
    with http_requests() as (url, received):
        hooks = [Webhook(url, job_status=status, method="POST") for status in ("finished", "failed")]
        finished = enqueue(stack, "add", 1, 2, webhooks=hooks)
        failed = enqueue(stack, "fail", webhooks=hooks)
        wait_until(lambda: len(received) == 2, 10, "two requests")
    assert [(sent["job_id"], sent["status"]) for sent in received] == [
        (finished.id, "finished"),
        (failed.id, "failed"),
    ]


def test_a_running_job_is_stopped_and_not_retried(stack: Workers) -> None:
    job = enqueue(stack, "wait_for", "never", retry=Retry(max=3))
    wait_until(lambda: job.get_status() == JobStatus.STARTED)
    send_stop_job_command(stack.redis, job.id)
    wait_for_end(job, JobStatus.STOPPED)
    assert job.id in stack.queue.failed_job_registry


def test_the_process_of_a_job_is_killed_on_command(stack: Workers) -> None:
    job = enqueue(stack, "wait_for", "never")
    wait_until(lambda: job.get_status() == JobStatus.STARTED)
    send_kill_horse_command(stack.redis, job.get_executions()[0].worker_name)
    assert "terminated unexpectedly" in error_of(wait_for_end(job, JobStatus.FAILED))


def test_a_canceled_job_does_not_run(stack: Workers) -> None:
    word = uuid.uuid4().hex
    first = enqueue(stack, "wait_for", word)
    canceled, last = enqueue(stack, "add", 1, 2), enqueue(stack, "add", 1, 2)
    canceled.cancel()
    stack.redis.set(word, 1)
    wait_for_end(first)
    wait_for_end(last)
    assert canceled.get_status() == JobStatus.CANCELED
    assert canceled.results() == []


def test_suspend_and_resume(stack: Workers) -> None:
    suspend(stack.redis)
    try:
        first = enqueue(stack, "add", 1, 2)  # the worker waits for a job already, and so takes this one
        wait_until(lambda: stack.registered()[0]["state"] == "suspended", 10, "the worker to notice")
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


@pytest.mark.slow  # it waits for maintenance
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
    command = [sys.executable, "-m", "rq.cli", "cron", "-c", "src.kit.queue.rq_config", "cron_jobs.py"]
    scheduler = subprocess.Popen(command, cwd=stack.folder, env=stack.environment)
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
