"""Real API processes: Gunicorn as in production, with JSON on standard output, and as in development."""

import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2 as httpx
import psutil
from redis import Redis

from tests.conftest import ROOT, wait_until
from tests.kit.processes import start
from tools.ports import free_port

KEY = secrets.token_hex(24)
PASSWORD = secrets.token_hex(24)
"""Of a Redis user made for this, because production insists on a password."""

GUNICORN = [
    str(Path(sys.executable).with_name("gunicorn")), "-c", "gunicorn.conf.py", "--bind", "127.0.0.1:PORT",
]  # fmt: skip
RELOADING = [
    sys.executable, "-m", "src.reload",
    "uvicorn", "src.main:app", "--reload", "--reload-dir", "src", "--port", "PORT",
]  # fmt: skip


def production_environment(redis_url: str, database_url: str) -> dict[str, str]:
    """The environment of a process in production: with the passwords and keys that it insists on."""
    allowed: dict[str, Any] = {"keys": "*", "channels": "*", "categories": ["+@all"]}
    Redis.from_url(redis_url).acl_setuser(
        "app", enabled=True, reset=True, passwords=f"+{PASSWORD}", **allowed
    )
    return os.environ | {
        "ENVIRONMENT": "production",
        "LOG_LEVEL": "info",
        "REDIS_URL": redis_url.replace("redis://", f"redis://app:{PASSWORD}@"),
        "DATABASE_URL": database_url,
        "ALLOW_SQLITE": "true",
        "API_KEYS": KEY,
    }


class Api:
    """An API on a free port, and its log."""

    def __init__(
        self, folder: Path, command: list[str], environment: dict[str, str], cwd: Path = ROOT
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = folder / "api.log"
        command = [part.replace("PORT", str(self.port)) for part in command]
        self.process = start(command, self.output, cwd=cwd, env=environment, start_new_session=True)

    def ask(self, path: str, **headers: str) -> httpx.Response:
        """Send a request on a new connection, so that any worker may answer."""
        return httpx.get(self.url + path, headers={"X-API-Key": KEY} | headers, timeout=20)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return children

    def lines(self) -> list[dict[str, Any]]:
        """All that it has logged; fails on a line that is not a JSON object."""
        return parse_lines(self.output.read_text())

    def stop(self) -> int:
        """Stop it as a supervisor does; returns its exit code."""
        self.process.terminate()
        return self.process.wait(60)


A = TypeVar("A", bound=Api)


def parse_lines(output: str) -> list[dict[str, Any]]:
    """The JSON objects in a log, one per line; fails on any other line."""
    return [json.loads(line) for line in output.splitlines()]


@contextmanager
def started(api: A, workers: int = 1) -> Iterator[A]:
    """Wait until all workers of an API have started; stop it at the end."""

    def is_started() -> bool:
        assert api.process.poll() is None, api.output.read_text()
        return api.output.read_text().count("Application startup complete") == workers

    try:
        wait_until(is_started, 60, "the API to start")
        yield api
    finally:
        api.stop()


@contextmanager
def running_development_api(folder: Path, redis_url: str, database_url: str) -> Iterator[Api]:
    """Run the API as `make dev` does, on a copy of the code that a test may change."""
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, folder / name)
    environment = {"ENVIRONMENT": "development", "REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with started(Api(folder, RELOADING, os.environ | environment, folder)) as api:
        yield api


@contextmanager
def running_api(folder: Path, environment: dict[str, str], workers: int, *options: str) -> Iterator[Api]:
    """Run Gunicorn with the settings of production, and more options."""
    environment = environment | {"WEB_CONCURRENCY": str(workers)}
    with started(Api(folder, [*GUNICORN, *options], environment), workers) as api:
        yield api
