"""Servers: how many requests a second each answers, and how long the slowest of a hundred takes."""

import json
import subprocess
from dataclasses import dataclass, field

from bench.stack import Stack
from bench.venvs import OWN
from tools.project import ROOT

CONNECTIONS = 16
ROUTES = {
    "`/health/live`": "/health/live",
    "imports as JSON": "/api/v1/sales/imports?limit=10",
    "summary": "/api/v1/sales/summary?group_by=country",
}
_GUNICORN = ["gunicorn", "-c", "gunicorn.conf.py", "--bind", "127.0.0.1:PORT"]
SERVERS = {
    "Gunicorn with our worker": _GUNICORN,
    "Gunicorn with `UvicornWorker`": [*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker"],
    "Gunicorn with its `asgi` worker": [*_GUNICORN, "--worker-class", "asgi"],
    "`uvicorn --workers`": ["uvicorn", "src.main:app", "--host", "127.0.0.1", "--port", "PORT"],
}
"""The first is ours, as `make prod` runs it; all take the number of processes from WEB_CONCURRENCY."""


@dataclass
class ServerResult:
    """What one server did, in all its turns; by route."""

    name: str
    is_ours: bool
    rates: dict[str, list[float]] = field(default_factory=dict)
    p99: dict[str, list[float]] = field(default_factory=dict)
    failed: int = 0
    problem: str = ""


def servers() -> list[ServerResult]:
    """An empty result for each."""
    return [ServerResult(name, is_ours=not number) for number, name in enumerate(SERVERS)]


def measure(result: ServerResult, stack: Stack, processes: int, seconds: float) -> None:
    """One turn of a server; adds to its result.

    Args:
        result: of this server.
        stack: what it works with.
        processes: how many it has.
        seconds: for which each route is loaded.
    """
    with stack.api(SERVERS[result.name], processes) as api:
        for route, path in ROUTES.items():
            _load(api.port, path, 0.5)
            found = _load(api.port, path, seconds)
            result.rates.setdefault(route, []).append(found["rate"])
            result.p99.setdefault(route, []).append(found["p99"])
            result.failed += int(found["failed"])


def _load(port: int, path: str, seconds: float) -> dict[str, float]:
    command = [
        str(OWN / "python"),
        "-m",
        "bench.load",
        "127.0.0.1",
        str(port),
        path,
        str(CONNECTIONS),
        str(seconds),
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=seconds + 30)
    found: dict[str, float] = json.loads(run.stdout)
    return found
