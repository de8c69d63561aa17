"""Read by each Python process of RQ's tests: another port for Redis, `RobustWorker` for RQ's `Worker`."""

import os
import pkgutil
import sys
from importlib import import_module
from typing import Any

import redis.connection
import rq.worker

STANDARD_PORT = 6379

_connect: Any = redis.connection.Connection._connect


def _connect_elsewhere(connection: Any) -> Any:
    """RQ's tests, and the URLs in them, assume a Redis on the standard port."""
    if connection.port == STANDARD_PORT:
        process = os.environ["PYTEST_XDIST_WORKER"].upper()  # processes that tests start have it, too
        connection.port = int(os.environ[f"SUITE_REDIS_PORT_OF_{process}"])
    return _connect(connection)


def _replace_worker() -> None:
    """Put `RobustWorker` under every name that RQ has for its `Worker`."""
    rqs_own = rq.worker.Worker
    robust = import_module("src.kit.queue.worker").RobustWorker
    for module in pkgutil.walk_packages(rq.__path__, "rq."):
        if not module.name.startswith("rq.contrib"):  # needs packages of its own
            import_module(module.name)
    for name, loaded in list(sys.modules.items()):
        if name.split(".")[0] == "rq" and getattr(loaded, "Worker", None) is rqs_own:
            loaded.Worker = robust  # type: ignore[attr-defined]


redis.connection.Connection._connect = _connect_elsewhere  # type: ignore[method-assign]
if os.environ.get("SUITE_CLASSES") == "RobustWorker":
    _replace_worker()
