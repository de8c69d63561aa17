"""Code that wraps RQ's methods, as tracing does, sees the jobs of this worker."""

from typing import Any

from rq import Callback

from tests.conftest import wait_until
from tests.kit.worker_process import JOBS, Workers

INSTRUMENTATION = """
import functools
from rq import Worker
from rq.job import Job

def wrap(kind, name):
    method = getattr(kind, name)
    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        job = self if kind is Job else args[0] if args else kwargs["job"]
        get_redis().rpush("wrapped", f"{name} {job.meta.get('traceparent')}")
        return method(self, *args, **kwargs)
    setattr(kind, name, wrapper)

wrap(Worker, "perform_job")
wrap(Job, "perform")
wrap(Worker, "handle_job_success")
wrap(Worker, "handle_job_failure")
wrap(Worker, "handle_exception")
"""


def test_instrumentation_sees_each_step_of_a_job_and_its_meta(
    workers: Workers,
) -> None:
    workers.save("jobs.py", JOBS + INSTRUMENTATION)
    callback = Callback("src.probe.jobs.note_failure")
    workers.queue.enqueue("src.probe.jobs.say", "hello", meta={"traceparent": "00-1"})
    workers.queue.enqueue("src.probe.jobs.say", meta={"traceparent": "00-2"}, on_failure=callback)
    workers.start()
    wait_until(lambda: workers.queue.failed_job_registry.count == 1, what=workers.log)
    lines: list[Any] = workers.redis.lrange("wrapped", 0, -1)
    assert [line.decode() for line in lines] == [
        "perform_job 00-1",
        "perform 00-1",
        "handle_job_success 00-1",
        "perform_job 00-2",
        "perform 00-2",
        "handle_exception 00-2",
        "handle_job_failure 00-2",
    ]
