"""This repository's worker: a supervisor, and generations that have loaded the application.

Arguments: the queues before the one that has the jobs, if any.
"""

import gc
import sys
from pathlib import Path
from typing import Any

from src.reload import Supervisor


def generation(generation: Any) -> None:
    """One generation, as `src/rq_worker.py` runs them."""
    import app.jobs  # noqa: F401
    from rq import Queue

    from src.kit import tracing
    from src.kit.queue.worker import RobustWorker
    from src.kit.redis import get_redis

    tracing.load()  # as src/kit/queue/startup.py does, so that no job reads the settings again
    gc.freeze()
    generation.loaded()
    queues = [Queue(name, connection=get_redis()) for name in (*sys.argv[1:], "bench")]
    worker = RobustWorker(queues, connection=get_redis())
    worker.on_working = generation.working
    worker.on_quiet = generation.quiet
    if generation.ready(worker.stop):
        worker.work()


if __name__ == "__main__":
    sys.exit(Supervisor("ours:generation", [Path("app")]).run())
