"""The API and a worker, to be treated badly."""

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import create_engine, text

from tests.conftest import ROOT, wait_until
from tests.kit.hostile_server import Answer, Server, assert_tells_nothing, get
from tests.kit.processes import start
from tests.sales.hostile_uploads import FILE, IMPORTS, form, upload


class Sales:
    """The API and a worker on a database of their own."""

    def __init__(self, folder: Path, server: Server, redis_url: str, database_url: str) -> None:
        self.server = server
        self.engine = create_engine(database_url)
        self._log = folder / "worker.log"
        environment = os.environ | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
        self.worker = start([sys.executable, "-m", "src.rq_worker"], self._log, cwd=ROOT, env=environment)

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


class Peak:
    """The highest memory of all processes together, in MiB, while it looks."""

    def __init__(self, sales: Sales) -> None:
        self._sales = sales
        self._stop = threading.Event()
        self.highest = self.now()

    def now(self) -> int:
        """The memory at this moment; what processes share counts once."""
        total = 0
        for process in self._sales.processes():
            try:
                total += process.memory_full_info().pss
            except psutil.NoSuchProcess:
                continue
        return total >> 20

    def look(self) -> None:
        """Look until told to stop."""
        while not self._stop.wait(0.02):
            self.highest = max(self.highest, self.now())

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the block runs."""
        thread = threading.Thread(target=self.look)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
