"""The page in a real Chromium, with API and worker in development on a copy of the code."""

import csv
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from tests.conftest import ROOT, wait_until
from tests.kit.processes import running
from tests.kit.production_process import running_development_api
from tests.kit.repository import replace
from tests.kit.services import migrate

HEADER = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
COUNTRIES = (
    "United Kingdom", "Germany", "France", "EIRE", "Spain", "Netherlands", "Belgium", "Switzerland",
    "Portugal", "Australia", "Norway", "Italy", "Finland", "Sweden", "Japan",
)  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """A running API and worker, and the copy of the repository that they run."""

    url: str
    folder: Path

    def save(self, path: str, old: str, new: str) -> None:
        """Change a file of the code, as an editor does."""
        file = self.folder / path
        text = file.read_text()
        assert old in text
        replace(file, text.replace(old, new))

    def log(self, name: str) -> str:
        """What `api` or `worker` has logged."""
        return (self.folder / f"{name}.log").read_text()


@contextmanager
def running_stack(folder: Path, redis_url: str) -> Iterator[Stack]:
    """Run the API and a worker in development on a copy of the code in `folder`, with an empty database."""
    database_url = f"sqlite:///{folder / 'app.db'}"
    environment = os.environ | {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    shutil.copy(ROOT / "pyproject.toml", folder)
    worker = [sys.executable, "-m", "src.rq_worker"]
    reloading = environment | {"RQ_WORKER_AUTORELOAD": "true"}
    with (
        running_development_api(folder, redis_url, database_url) as api,
        running(worker, folder / "worker.log", cwd=folder, env=reloading, start_new_session=True),
    ):
        migrate(environment, folder)
        stack = Stack(api.url, folder)
        wait_until(lambda: "New worker at work" in stack.log("worker"), what="the worker")
        yield stack


def write_sales(path: Path, days: int, rows_a_day: int = 4) -> Path:
    """Write a file of plausible sales, with a few returns, and more of them towards Christmas."""
    rng = random.Random(days)  # noqa: S311
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for number in range(days):
            day = date(2010, 12, 1) + timedelta(days=number)
            season = 1 + 0.8 * max(0, (day.timetuple().tm_yday - 240) / 120)
            for row in range(rows_a_day):
                is_return = rng.random() < 0.02
                quantity = -rng.randint(1, 9) if is_return else int(rng.randint(5, 60) * season)
                cells = (
                    f"5{number:04}{row}", rng.randint(20_000, 20_400), "PLAUSIBLE PRODUCT", quantity,
                    f"{day} {8 + row % 12:02}:{rng.randint(0, 59):02}:00", rng.randint(85, 1295) / 100,
                    12_345, rng.choices(COUNTRIES, [0.5**i + 0.01 for i in range(len(COUNTRIES))])[0],
                )  # fmt: skip
                writer.writerow(cells)
    return path
