"""Time limits in seconds, the number of connections to the database, and the room for uploads.

At a stop, each time limit is shorter than the one around it.
For a request: `REQUEST`, `GUNICORN_STOP`, `stop_grace_period` in docker-compose.yml.
For a job: `JOB_TIMEOUT`, `worker_stop`, `WORKER_STOP_GRACE_PERIOD`. `tests/kit/test_limits.py` checks both.
"""

import shutil
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from src.kit.settings import KitSettings

DATABASE_CONNECT = 3
DATABASE_POOL = 10
"""Waiting for a connection while other requests of the process use them all."""
DATABASE_ANSWER = 10
"""One statement; in a job only `JOB_TIMEOUT` limits it."""

POOL_SIZE = 15
"""Connections of a process to the database, at most, unless `DATABASE_POOL_SIZE` says otherwise."""
SMALLEST_POOL = 2
WORKER_CONNECTIONS = 2
OTHER_CONNECTIONS = 10
"""A migration, a backup, `make psql`, and what Postgres reserves for its superuser."""

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


def pool_size(settings: "KitSettings") -> int:
    """Connections of each process to Postgres, so that old and new ones have enough during an update."""
    workers = WORKER_CONNECTIONS * settings.worker_replicas
    rest = settings.database_max_connections - OTHER_CONNECTIONS - 2 * workers
    share = rest // (2 * _processes(settings))
    return settings.database_pool_size or min(POOL_SIZE, max(SMALLEST_POOL, share))


def connections_problem(settings: "KitSettings") -> str | None:
    """Why Postgres would refuse connections if all are opened, and the fix; None if it would not."""
    most, pool, workers = settings.database_max_connections, pool_size(settings), settings.worker_replicas
    api, others = _processes(settings) * pool, WORKER_CONNECTIONS * workers + OTHER_CONNECTIONS
    if api + others <= most:
        return None
    return (
        f"DATABASE_MAX_CONNECTIONS is {most}, but the API may open {api} connections ({pool} a process), "
        f"{workers} workers and other programs {others}: requests would fail. Set "
        f"DATABASE_MAX_CONNECTIONS={api + others} if the database accepts as many, or a smaller "
        "DATABASE_POOL_SIZE, WEB_CONCURRENCY or API_REPLICAS."
    )


def uploads_problem(settings: "KitSettings") -> str | None:
    """Why uploads could fill up the folder for temporary files, and the fix; None if they could not."""
    if not settings.web_concurrency:  # it is not the API
        return None
    folder, size, processes = tempfile.gettempdir(), settings.max_upload_mb, _processes(settings)
    needed, room = processes * settings.max_uploads * size, shutil.disk_usage(folder).total >> 20
    if needed <= room:
        return None
    return (
        f"MAX_UPLOADS is {settings.max_uploads}, so the API may receive {needed} MiB at once (processes: "
        f"{processes}, files of {size} MiB), but {folder} has {room} MiB: uploads would fail. Set TMPDIR to "
        "a folder on a larger disk, or a smaller MAX_UPLOADS, MAX_UPLOAD_MB or WEB_CONCURRENCY."
    )


def _processes(settings: "KitSettings") -> int:
    return max(1, settings.api_replicas) * (settings.web_concurrency or 1)
