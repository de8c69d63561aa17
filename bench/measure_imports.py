"""Imports: how many the queue carries with 1, 2 and 4 workers, and what a large one takes."""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

import psutil

from bench import sales_file
from bench.plan import ProductionPlan
from bench.stack import Api, Stack
from bench.venvs import UnavailableError

WORKERS = (1, 2, 4)
SMALL_ROWS, LARGE_ROWS = 50, 10_000
LONGEST = 300.0
"""Seconds that any of this may take."""

WAYS = {"all": "&limit=10000", "of some days": "&from=2010-12-01&to=2010-12-03", "the first ten": "&limit=10"}
"""How the summary is asked for."""

_numbers = count(1)


@dataclass
class GrowthResult:
    """What so many workers carried."""

    workers: int
    imports: float = 0
    """Small imports a second."""
    rows: float = 0
    """Rows a second, of large ones."""
    problem: str = ""


@dataclass
class LargeResult:
    """What a large import took, after one of a tenth of its rows."""

    rows: int
    database: str = ""
    seconds: float = 0
    """From the first row's time on, as the import itself tells."""
    tenth_memory: int = 0
    """Bytes of the worker's job at the most, with a tenth of the rows."""
    memory: int = 0
    api_memory: int = 0
    """Bytes of the largest process of the API, the upload included."""
    answers: dict[str, list[float]] = field(default_factory=dict)
    """Seconds of each answer afterwards, by what was asked."""
    problem: str = ""


def grow(result: GrowthResult, stack: Stack, api: Api, plan: ProductionPlan) -> None:
    """Fill the queue, start the workers, and see how fast it empties."""
    result.imports = _carried(stack, api, result.workers, plan.small_imports, SMALL_ROWS)
    result.rows = LARGE_ROWS * _carried(stack, api, result.workers, plan.large_imports, LARGE_ROWS)


def _carried(stack: Stack, api: Api, workers: int, files: int, rows: int) -> float:
    ids = [_upload(stack, api, rows) for _ in range(files)]
    with contextlib.ExitStack() as running:
        for _ in range(workers):
            running.enter_context(stack.worker())
        views = _wait_for_end(api, ids)
    return files / _span(views)


def import_large(result: LargeResult, stack: Stack, api: Api, plan: ProductionPlan) -> None:
    """Import a large file and ask for the summary afterwards."""
    result.database = stack.database
    with stack.worker() as worker:
        with _peak(worker) as peak:
            _wait_for_end(api, [_upload(stack, api, result.rows // 10)])
        result.tenth_memory = peak()
        with _peak(worker) as peak, _peak(api.process) as api_peak:
            views = _wait_for_end(api, [_upload(stack, api, result.rows)])
        result.seconds, result.memory, result.api_memory = _span(views), peak(), api_peak()
    for group_by in ("day", "country", "product"):
        for way, options in WAYS.items():
            path = f"/api/v1/sales/summary?group_by={group_by}{options}"
            result.answers[f"by {group_by}, {way}"] = [_timed(api, path) for _ in range(plan.answers)]
    result.answers["the page"] = [_timed(api, "/") for _ in range(plan.answers)]


def _timed(api: Api, path: str) -> float:
    began = time.perf_counter()
    api.client.get(path).raise_for_status()
    return time.perf_counter() - began


def _upload(stack: Stack, api: Api, rows: int) -> str:
    path = stack.directory / "sales.csv"
    sales_file.write(path, rows, next(_numbers))
    with path.open("rb") as file:
        answer = api.client.post("/api/v1/sales/imports", files={"file": file}).raise_for_status()
    import_id: str = answer.json()["id"]
    return import_id


def _wait_for_end(api: Api, ids: Iterable[str]) -> list[dict[str, Any]]:
    end, views = time.monotonic() + LONGEST, []
    for import_id in ids:
        while (view := api.get(f"/api/v1/sales/imports/{import_id}"))["status"] != "finished":
            if view["status"] == "failed" or time.monotonic() > end:
                raise UnavailableError(f"an import is {view['status']}: {view['reason']}")
            time.sleep(0.2)
        views.append(view)
    return views


def _span(views: Iterable[dict[str, Any]]) -> float:
    """Seconds from the start of the first import to the end of the last one."""
    began, ended = zip(*((view["started_at"], view["finished_at"]) for view in views), strict=True)
    return (datetime.fromisoformat(max(ended)) - datetime.fromisoformat(min(began))).total_seconds()


@contextlib.contextmanager
def _peak(parent: psutil.Process) -> Iterator[Any]:
    """Watch the largest of a process and its children; the value tells its bytes of memory at the most."""
    largest, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            with contextlib.suppress(psutil.Error):
                found = [process.memory_info().rss for process in (parent, *parent.children(recursive=True))]
                largest[0] = max(*largest, *found)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: largest[0]
    finally:
        done.set()
        watcher.join()
