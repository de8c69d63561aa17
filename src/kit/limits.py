"""How long things may take, in seconds. At a stop, each limit is shorter than the one around it.

A request, then Gunicorn's patience with it, then the container's (`stop_grace_period` in docker-compose.yml);
a job (`JOB_TIMEOUT`), then its worker's patience, then the container's (`WORKER_STOP_GRACE_PERIOD`).
`tests/kit/test_limits.py` adds them up with the rendered compose files.
"""

DATABASE_CONNECT = 3
DATABASE_POOL = 5
"""Waiting for a connection that other requests of the process have."""
DATABASE_ANSWER = 10
"""One statement outside of jobs, which take all the time that `JOB_TIMEOUT` gives them."""

REDIS_CONNECT = 2
REDIS_ANSWER = 3

REQUEST = 30
"""A request that has been received, and also a Gunicorn worker that shows no sign of life."""
GUNICORN_STOP = 40
"""What Gunicorn gives the requests that are under way at a stop."""

WORKER_LEAVES = 10
"""What a worker needs at the end of its stop, after its job has ended or was killed."""

OUTAGE_WAIT = 20
"""How long a job that met an outage waits for its end before it goes back into the queue."""


def worker_stop(grace_period: int) -> int:
    """What a worker gives its job at a stop, where its container is killed after so many seconds."""
    return grace_period - WORKER_LEAVES


def job_timeout_problem(job_timeout: int, grace_period: int | None) -> str | None:
    """Why these two don't go together, and what to do; None if they do, or if no container limits a stop."""
    if grace_period is None or job_timeout < worker_stop(grace_period):
        return None
    return (
        f"JOB_TIMEOUT is {job_timeout} s and WORKER_STOP_GRACE_PERIOD is {grace_period} s: a job that is "
        "under way when its worker is stopped would be killed before its time is up, and begin again. "
        f"Set WORKER_STOP_GRACE_PERIOD={job_timeout + 30}s, or a shorter JOB_TIMEOUT."
    )
