"""What RQ documents works with our worker, too: one real worker process, one short test for each feature."""

import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from rq import Callback, Queue, RateLimit, Repeat, Retry, Webhook, Worker
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.exceptions import DuplicateJobError
from rq.group import Group
from rq.job import Dependency, Job, JobStatus

from tests.conftest import wait_until
from tests.kit.rq_stack import enqueue, error_of, stack, text, wait_for_end
from tests.kit.worker_process import Workers

__all__ = ["stack"]

pytestmark = pytest.mark.slow  # they test kit with RQ, which no change of a service breaks


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
