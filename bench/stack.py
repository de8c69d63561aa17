"""The production processes, natively, on a database and a Redis of their own."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil

from bench.processes import last_line, running
from bench.venvs import OWN, UnavailableError
from tests.kit.postgres_server import find_postgres, running_postgres
from tools.ports import free_port
from tools.project import ROOT

FIRST_ANSWER = 60.0
"""Seconds that a process may take until it works."""


@dataclass(frozen=True)
class Stack:
    """Where the processes find what they need."""

    directory: Path
    redis_url: str
    database_url: str

    @property
    def environment(self) -> dict[str, str]:
        """Settings of all processes; without keys or secrets, as in development, which changes no figure."""
        return {
            "ENVIRONMENT": "development",
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": self.database_url,
            "MAX_UPLOAD_MB": "200",
        }

    @property
    def database(self) -> str:
        """What kind of database it is, for readers."""
        return "Postgres" if self.database_url.startswith("postgresql") else "SQLite"

    def migrate(self) -> None:
        """Bring the database to the newest migration."""
        log = self.directory / "migrate.log"
        with running([str(OWN / "alembic"), "upgrade", "head"], ROOT, log, self.environment) as process:
            if process.wait(FIRST_ANSWER):
                raise UnavailableError(f"the database can't be migrated: {last_line(log)}")

    @contextlib.contextmanager
    def api(self, command: list[str], processes: int) -> Iterator["Api"]:
        """Run a server of the application.

        Args:
            command: with `PORT` where the port goes.
            processes: how many.
        """
        log, port = self.directory / "api.log", free_port()
        environment = self.environment | {"WEB_CONCURRENCY": str(processes)}
        program, *arguments = (part.replace("PORT", str(port)) for part in command)
        with (
            running([str(OWN / program), *arguments], ROOT, log, environment) as process,
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        ):
            _wait(client, process, log)
            yield Api(process, port, client)

    @contextlib.contextmanager
    def worker(self) -> Iterator[psutil.Process]:
        """Run a worker."""
        with running(
            [str(OWN / "python"), "-m", "src.rq_worker"],
            ROOT,
            self.directory / "worker.log",
            self.environment,
        ) as process:
            yield process


@dataclass(frozen=True)
class Api:
    """A server that answers."""

    process: psutil.Process
    port: int
    client: httpx2.Client

    def get(self, path: str) -> Any:
        """What it answers to this path, from JSON."""
        return self.client.get(path).raise_for_status().json()


@contextlib.contextmanager
def prepared(redis_url: str) -> Iterator[Stack]:
    """A stack with an empty, migrated database: Postgres where its programs are, else SQLite."""
    with contextlib.ExitStack() as opened:
        # Postgres does not run as root, and has to enter the folder.
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="bench-production-")))
        url = f"sqlite:///{folder / 'app.db'}"
        if binaries := find_postgres():
            (folder / "postgres").mkdir()
            folder.chmod(0o755)
            url = opened.enter_context(running_postgres(binaries, folder / "postgres"))
        stack = Stack(folder, redis_url, url)
        stack.migrate()
        yield stack


def _wait(client: httpx2.Client, process: psutil.Process, log: Path) -> None:
    end = time.monotonic() + FIRST_ANSWER
    while time.monotonic() < end and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        with contextlib.suppress(httpx2.HTTPError):
            if client.get("/health/ready").status_code == 200:
                return
        time.sleep(0.05)
    raise UnavailableError(f"does not answer: {last_line(log)}")
