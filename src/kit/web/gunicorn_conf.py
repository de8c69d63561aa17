"""What `gunicorn.conf.py` imports by name: the number of cores, the JSON log, and hooks around the workers.

Gunicorn's parent process imports this module, in development too, where a reload replaces code in the workers
only. So nothing else of the service is imported at the top.
"""

import gc
import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn import glogging


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """The cores that this process may use: the container's share if one is set, not the host's.

    Args:
        cgroup: the container's view of its control group: `cpu.max` in version 2, `cpu/cpu.cfs_*` in 1.
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


class JsonLogger(glogging.Logger):  # type: ignore[misc]  # it has no types
    """Gunicorn's log in production: JSON like the application's, from the first line."""

    def setup(self, cfg: Any) -> None:
        """Apply the settings; Gunicorn calls it again at each reload."""
        super().setup(cfg)
        from src.kit.log import write_json

        write_json([logging.StreamHandler(sys.stdout)])


def on_starting(server: Any) -> None:
    """Say how many workers there are: the connections to the database are divided among them.

    Refuse a reloading Gunicorn in production, too; the application checks all other settings itself.
    """
    os.environ["WEB_CONCURRENCY"] = str(server.cfg.workers)  # also if --workers sets it
    if server.cfg.preload_app:  # so the settings have been read
        from src import settings
        from src.kit import settings as kit_settings

        kit_settings.get_settings.cache_clear()
        settings.get_settings.cache_clear()
    if os.environ.get("ENVIRONMENT") == "production":
        from src.kit import production

        production.checked_settings(serves=True, reload=server.cfg.reload)


def when_ready(server: Any) -> None:
    """Prepare for the workers: their memory, and the folder in which they count their requests.

    The folder is empty at each start, and kept by a reload.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(
        prefix="metrics-", dir=server.cfg.worker_tmp_dir
    )
    gc.collect()
    gc.freeze()  # else the first collection in each worker copies what they share, while a request waits


def on_exit(server: Any) -> None:  # noqa: ARG001
    """Remove that folder."""
    shutil.rmtree(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""), ignore_errors=True)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest free number: it continues the counts of the worker that had it before.

    Prometheus' default, the process id, would leave one file per worker that ever ran, all of them read at
    each scrape.
    """
    taken = {other.metrics_number for other in server.WORKERS.values()}
    worker.metrics_number = next(number for number in range(len(taken) + 1) if number not in taken)


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Give the worker its own database connections, and all the open files that the system allows.

    Each event stream is an open file, and Docker's own limit may be 1,024. The Redis client notices a fork by
    itself.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError):  # macOS, if that is unlimited
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    from prometheus_client import values

    from src.kit.database.engine import forget_connections

    forget_connections()
    values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]
        process_identifier=lambda: worker.metrics_number
    )


def worker_int(worker: Any) -> None:
    """In development, stop the worker when Gunicorn's reloader asks for it: Uvicorn's class ignores that."""
    os.kill(worker.pid, signal.SIGTERM)
