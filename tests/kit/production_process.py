"""Real API processes: Gunicorn as in production, with JSON on standard output, and as in development."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psutil
from redis import Redis

from tests.conftest import ROOT, wait_until
from tools.ports import free_port

KEY = secrets.token_hex(24)
PASSWORD = secrets.token_hex(24)
"""Of a Redis user made for this, because production insists on a password."""


def production_environment(redis_url: str, database_url: str) -> dict[str, str]:
    """The environment of a process in production: with the passwords and keys that it insists on."""
    Redis.from_url(redis_url).acl_setuser(
        "app",
        enabled=True,
        reset=True,
        passwords=f"+{PASSWORD}",
        keys="*",
        channels="*",
        categories=["+@all"],
    )
    return os.environ | {
        "ENVIRONMENT": "production",
        "LOG_LEVEL": "info",
        "REDIS_URL": redis_url.replace("redis://", f"redis://app:{PASSWORD}@"),
        "DATABASE_URL": database_url,
        "ALLOW_SQLITE": "true",
        "API_KEYS": KEY,
    }


@dataclass
class Api:
    """A running API."""

    url: str
    process: "subprocess.Popen[bytes]"
    output: Path

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Send a request on a new connection, so that any worker may answer."""
        return httpx.get(self.url + path, headers={"X-API-Key": KEY} | headers, timeout=20)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return children

    def lines(self) -> list[dict[str, Any]]:
        """All that it has logged; fails on a line that is not a JSON object."""
        return parse_lines(self.output.read_text())


def parse_lines(output: str) -> list[dict[str, Any]]:
    """The JSON objects in a log, one per line; fails on any other line."""
    return [json.loads(line) for line in output.splitlines()]


@contextmanager
def running_development_api(folder: Path, redis_url: str, database_url: str) -> Iterator[Api]:
    """Run the API as `make dev` does, on a copy of the code that a test may change."""
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, folder / name)
    port = free_port()
    output = folder / "api.log"
    command = [
        sys.executable,
        "-m",
        "src.reload",
        "uvicorn",
        "src.main:app",
        "--reload",
        "--reload-dir",
        "src",
    ]
    environment = {"ENVIRONMENT": "development", "REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with output.open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(lambda: "Application startup complete" in output.read_text(), what="the API")
        yield Api(f"http://127.0.0.1:{port}", process, output)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def running_api(folder: Path, environment: dict[str, str], workers: int) -> Iterator[Api]:
    """Run Gunicorn with the settings of production."""
    port = free_port()
    output = folder / "api.log"
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    with output.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT, env=environment | {"WEB_CONCURRENCY": str(workers)}, stdout=log, stderr=log,
        )  # fmt: skip
    api = Api(f"http://127.0.0.1:{port}", process, output)
    try:
        wait_until(
            lambda: output.read_text().count("Application startup complete") == workers, what="its workers"
        )
        yield api
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
