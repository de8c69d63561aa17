"""Gunicorn's settings in development (`make dev SERVER=gunicorn`): what differs from `gunicorn.conf.py`."""

import runpy
from pathlib import Path

from src.kit.web.gunicorn_conf import worker_int
from src.reload import debugger

globals().update(runpy.run_path(str(Path(__file__).with_name("gunicorn.conf.py"))))

debugger.install()

workers = 1
timeout = 0  # a request may be at a breakpoint
preload_app = False  # preloaded code would outlive a reload, which restarts only the workers
reload = True
loglevel = "debug"
