"""How a worker comes about: the code it needs, then the worker itself."""

import gc
import importlib

from src.kit import limits, tracing
from src.kit.database.engine import begin_job
from src.kit.queue.enqueue import get_queue, get_queues, run_sweeps
from src.kit.queue.worker import RobustWorker
from src.kit.redis import get_redis
from src.kit.running import SRC, running_code
from src.kit.settings import get_settings


def load_code() -> None:
    """Import each feature's `jobs` module, so that a forked job finds its code loaded, in shared memory."""
    for path in sorted(SRC.glob("*/jobs.py")):
        importlib.import_module(f"{SRC.name}.{path.parent.name}.jobs")
    tracing.load()
    running_code()
    gc.freeze()  # a forked job need not search what was loaded, and so does not copy it either


def make_worker() -> RobustWorker:
    """The worker of this process, once the code is loaded; `work` runs it."""
    loaded = running_code()
    grace = get_settings().worker_stop_grace_period
    return RobustWorker(
        get_queues(),
        connection=get_redis(),
        serializer=get_queue().serializer,
        code=loaded.code,
        loaded_at=loaded.loaded_at,
        before_job=begin_job,
        sweep=run_sweeps,
        heartbeat_file=get_settings().rq_worker_heartbeat_file,
        stop_timeout=grace and limits.worker_stop(grace),
    )
