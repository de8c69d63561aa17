"""The API and a worker, to be treated badly."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine, text

from tests.conftest import ROOT, wait_until
from tests.kit.hostile_server import Answer, Server, assert_tells_nothing, get
from tests.sales.hostile_uploads import FILE, IMPORTS, form, upload


class Sales:
    """The API and a worker on a database of their own."""

    def __init__(self, folder: Path, server: Server, redis_url: str, database_url: str) -> None:
        self.server = server
        self.engine = create_engine(database_url)
        self._log = folder / "worker.log"
        environment = os.environ | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        with self._log.open("wb") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "src.rq_worker"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )

    def stop(self) -> None:
        self.worker.terminate()
        self.worker.wait(60)
        self.engine.dispose()

    def ask(self, request: bytes | Iterable[bytes]) -> Answer:
        """The answer to a request after which the server closes."""
        answer = self.server.exchange(request, seconds=60)[-1]
        assert_tells_nothing(answer)
        return answer

    def accept(self, data: bytes, disposition: str = FILE) -> str:
        """Upload a file, which is accepted; the import's id."""
        answer = self.ask(upload(form(data, disposition)))
        assert answer.status == 202, answer
        import_id: str = json.loads(answer.body)["id"]
        return import_id

    def ended(self, import_id: str, seconds: float = 60) -> dict[str, Any]:
        """The import when it has finished or failed."""

        def look() -> dict[str, Any] | None:
            view: dict[str, Any] = json.loads(self.ask(get(f"{IMPORTS}/{import_id}")).body)
            return view if view["status"] in ("finished", "failed") else None

        return wait_until(look, seconds, "the import to end")

    def run(self, data: bytes) -> dict[str, Any]:
        """Import a file."""
        return self.ended(self.accept(data))

    def rows(self, statement: str, **values: str) -> list[Any]:
        """What the database answers."""
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement), values))

    def stored(self) -> dict[str, int]:
        """How much the tables hold."""
        tables = ("sales_imports", "sales_import_chunks", "sales_lines")
        return {table: self.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables}

    def processes(self) -> list[psutil.Process]:
        """Of the API and of the worker, jobs included."""
        worker = psutil.Process(self.worker.pid)
        return [*self.server.processes(), worker, *worker.children(recursive=True)]

    def worker_log(self) -> str:
        """All that the worker has said."""
        return self._log.read_text("utf-8", errors="replace")
