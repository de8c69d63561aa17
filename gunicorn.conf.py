"""Gunicorn in production; `GUNICORN_CONFIG` selects another file."""

import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from gunicorn import glogging

from src.kit import limits


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """The cores that this process may use: its container's share where one is set, not the host's.

    Args:
        cgroup: where the container sees its control group: `cpu.max` in version 2, `cpu/cpu.cfs_*` in 1.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        allowed = os.cpu_count() or 1
    for quota_file, period_file in (("cpu.max", ""), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            text = (cgroup / quota_file).read_text()
            quota, period = (text + (cgroup / period_file).read_text() if period_file else text).split()
        except (OSError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return min(allowed, int(quota) / int(period))
    return allowed


wsgi_app = "src.main:app"
# Chosen beside Gunicorn's own `asgi` worker (docs/BENCHMARKS.md): where the application does something, both
# answer about as many requests, but at a stop that one tells open event streams nothing, and waits up to
# graceful_timeout for connections that nobody uses. uvicorn-worker's own class cuts off requests at a stop.
worker_class = "src.kit.web.gunicorn_worker.LingeringWorker"
bind = "0.0.0.0:8000"
workers = int(os.environ.get("WEB_CONCURRENCY") or int(cores() * 2) + 1)

# The code is loaded once, before the workers fork: they share its memory and never run different code. So HUP
# replaces the workers and reads this file again, without new code; that comes with USR2 or a new container.
preload_app = True
reload = False

# A worker that hangs is replaced after the one; the other is for the requests that are under way at a stop.
timeout = limits.REQUEST
graceful_timeout = limits.GUNICORN_STOP
# Longer than a load balancer keeps a connection (60 s), so that it never sends into a closing one.
keepalive = 65


class JsonLogger(glogging.Logger):
    """Gunicorn's log in production: like the application's, from the first line."""

    def setup(self, cfg: Any) -> None:
        """Read the settings; called again at each reload."""
        super().setup(cfg)
        from src.kit.log import write_json

        write_json([logging.StreamHandler(sys.stdout)])


loglevel = (os.environ.get("LOG_LEVEL") or "info").lower()
if os.environ.get("ENVIRONMENT") == "production":
    logger_class = JsonLogger
    accesslog = None  # src/kit/web/observer.py writes it, with the request's id
else:
    accesslog = "-"
# Heartbeats of the workers: on a disk that is busy they would be late.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
# Nobody talks to it here, and it would be written into the home folder.
control_socket_disable = True


def on_starting(server: Any) -> None:
    """Refuse in production what only Gunicorn's own settings show; the application looks at all others."""
    # Not in development, where this process must not load code that a reload replaces in the workers only.
    if os.environ.get("ENVIRONMENT") == "production":
        from src.kit import production

        production.checked_settings(reload=server.cfg.reload)


def when_ready(server: Any) -> None:  # noqa: ARG001
    """Make the folder in which the workers count their requests, empty at each start; a reload keeps it."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="metrics-", dir=worker_tmp_dir)


def on_exit(server: Any) -> None:  # noqa: ARG001
    """Remove the folder."""
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest number that is free: it goes on with the counts of the one that had it.

    By process, as is the default, every worker that ever ran would leave a file to be read at each scrape.
    """
    taken = {other.metrics_number for other in server.WORKERS.values()}
    worker.metrics_number = next(number for number in range(len(taken) + 1) if number not in taken)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Have each worker open database connections of its own; the Redis client does so by itself."""
    from prometheus_client import values

    from src.kit.database.engine import forget_connections

    forget_connections()
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: worker.metrics_number)
