"""Gunicorn's settings in production; `GUNICORN_CONFIG` selects another file."""

import os
from pathlib import Path

from src.kit import limits
from src.kit.web.gunicorn_conf import JsonLogger, cores, on_exit, on_starting, post_fork, pre_fork, when_ready

wsgi_app = "src.main:app"
bind = "0.0.0.0:8000"
workers = int(os.environ.get("WEB_CONCURRENCY") or int(cores() * 2) + 1)
worker_class = "src.kit.web.gunicorn_worker.LingeringWorker"

# The code is loaded once, before the workers fork: they share its memory and all run the same code. So HUP
# replaces the workers and reads this file again, but new code needs USR2 or a new container.
preload_app = True
reload = False

timeout = limits.REQUEST  # a worker that hangs for so long is replaced
graceful_timeout = limits.GUNICORN_STOP  # at a stop, for the requests under way
keepalive = 65  # longer than a load balancer's 60 s, so that it never sends into a closing connection

loglevel = (os.environ.get("LOG_LEVEL") or "info").lower()
accesslog: str | None = "-"
if os.environ.get("ENVIRONMENT") == "production":
    logger_class = JsonLogger
    accesslog = None  # src/kit/web/observer.py writes it, with the request's id

# The workers' heartbeats, in memory: on a busy disk they would be late.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True  # nothing uses it, and Gunicorn would create it in the home folder
