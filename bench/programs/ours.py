"""This repository's worker: a supervisor, and generations that have loaded the application."""

import gc
import sys
from pathlib import Path
from typing import Any

from src.reload import Supervisor


def generation(generation: Any) -> None:
    """One generation, as `src/rq_worker.py` runs them."""
    import app.jobs  # noqa: F401
    from rq_imported import queue

    from src.kit.queue.worker import RobustWorker

    gc.freeze()
    generation.loaded()
    worker = RobustWorker(queue, connection=queue.connection)
    worker.on_working = generation.working
    worker.on_quiet = generation.quiet
    if generation.ready(worker.stop):
        worker.work()


if __name__ == "__main__":
    sys.exit(Supervisor("ours:generation", [Path("app")]).run())
