"""Time limits in seconds. At a stop, each is shorter than the one around it.

For a request: `REQUEST`, `GUNICORN_STOP`, `stop_grace_period` in docker-compose.yml.
For a job: `JOB_TIMEOUT`, `worker_stop`, `WORKER_STOP_GRACE_PERIOD`. `tests/kit/test_limits.py` checks both.
"""

DATABASE_CONNECT = 3
DATABASE_POOL = 5
"""Waiting for a connection while other requests of the process use them all."""
DATABASE_ANSWER = 10
"""One statement; in a job only `JOB_TIMEOUT` limits it."""

REDIS_CONNECT = 2
REDIS_ANSWER = 3

REQUEST = 30
"""A complete request, and a Gunicorn worker without a sign of life."""
GUNICORN_STOP = 40
"""Requests in progress when Gunicorn stops."""

WORKER_LEAVES = 10
"""A worker's exit, after its job has ended or was killed."""

TRACING_FLUSH = 1
"""Sending the last spans of a job, or of an API that stops; what can't be sent by then is lost."""

OUTAGE_WAIT = 20
"""How long a job that met an outage waits for its end before it returns to the queue."""


def worker_stop(grace_period: int) -> int:
    """How long a stopping worker waits for its job, given its container's grace period in seconds."""
    return grace_period - WORKER_LEAVES


def job_timeout_problem(job_timeout: int, grace_period: int | None) -> str | None:
    """Why these two don't fit together, and the fix; None if they do, or if no container limits a stop."""
    if grace_period is None or job_timeout < worker_stop(grace_period):
        return None
    return (
        f"JOB_TIMEOUT is {job_timeout} s and WORKER_STOP_GRACE_PERIOD is {grace_period} s: stopping a worker "
        "would kill a job before its time is up, and the job would start again. "
        f"Set WORKER_STOP_GRACE_PERIOD={job_timeout + 30}s, or a shorter JOB_TIMEOUT."
    )
