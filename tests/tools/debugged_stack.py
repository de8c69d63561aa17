"""A stack that runs in a terminal, and whose code stops at breakpoints."""

import os
import shlex
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2

from tests.kit import paused_feature
from tests.kit.repository import copy_repository, share_environment
from tests.kit.terminal import Terminal
from tools.ports import free_port

LIMIT = 2
"""Seconds that a job may take."""


class Development:
    """`make dev` in a terminal, with routes and a job that stop at breakpoints."""

    def __init__(
        self, folder: Path, *ports: int, is_stopping: bool = True, has_terminal: bool = True
    ) -> None:
        self.folder, self.port = folder / "a clone", free_port()
        self._is_stopping = is_stopping
        copy_repository(self.folder)
        share_environment(self.folder)
        self.save(1)
        unset = {"REDIS_URL", "DATABASE_URL", "MAKEFLAGS", "MAKELEVEL"}
        inherited = {name: value for name, value in os.environ.items() if name not in unset}
        environment = {
            name: f"127.0.0.1:{port}"
            for name, port in zip(("DEBUGPY_SERVER", "DEBUGPY_WORKER"), ports, strict=False)
        }
        command = ["make", "debug" if ports else "dev", "RUNTIME=native", f"API_PORT={self.port}"]
        limits = {"JOB_TIMEOUT": str(LIMIT), "JOB_RETRIES": "0"}
        if not has_terminal:
            command = ["sh", "-c", f"{shlex.join(command)} < /dev/null"]
        self.terminal = Terminal(command, self.folder, inherited | limits | environment)
        self.debug_ports = ports
        self._asking = ThreadPoolExecutor(10)
        self.terminal.wait_for("\nReady.\n", seconds=60)

    def save(self, version: int) -> None:
        paused_feature.save(self.folder, version, is_stopping=self._is_stopping)

    def fetch(self, path: str, method: str = "GET") -> Any:
        response = httpx2.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=60)
        assert response.status_code == 200, response.text
        return response.json()

    def ask(self, path: str) -> "Future[Any]":
        """Fetch in the background."""
        return self._asking.submit(self.fetch, path)

    def job(self, number: int) -> str:
        """Enqueue a job."""
        return str(self.fetch(f"/probe/jobs/{number}", "POST"))

    def result(self, job_id: str) -> Any:
        return self.fetch(f"/probe/jobs/{job_id}")

    def codes(self) -> list[str]:
        """The code of the API and of the newest worker."""
        version = self.fetch("/version")
        workers = sorted(version["workers"], key=lambda worker: str(worker["loaded_at"]))
        return [version["code"], workers[-1]["code"]]
