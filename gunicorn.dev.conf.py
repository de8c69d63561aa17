"""Development code under Gunicorn (`make dev SERVER=gunicorn`): what differs from `gunicorn.conf.py`."""

import os
import runpy
import signal
from pathlib import Path
from typing import Any

globals().update(runpy.run_path(str(Path(__file__).with_name("gunicorn.conf.py"))))

workers = 1
# Preloaded code would outlive a reload: only the workers start afresh.
preload_app = False
reload = True
loglevel = "debug"


def worker_int(worker: Any) -> None:
    """Stop the worker when Gunicorn's reloader asks it to: Uvicorn's worker class does not notice."""
    os.kill(worker.pid, signal.SIGTERM)
