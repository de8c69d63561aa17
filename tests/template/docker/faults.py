"""Files accepted while a part of a running stack is broken, and clients that ask meanwhile."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

from src.kit import limits
from tests.conftest import wait_until
from tests.template.docker import engine, sales
from tests.template.running import Running

ROWS = 3_000
BEFORE, DURING = 15, 5
"""Imports accepted before a part breaks, and posted while it is broken."""

WATCHED = ("/health/ready", "/api/v1/sales/summary?group_by=country", "/api/v1/sales/imports?limit=100")

seeds = count(1000)


class Answer(NamedTuple):
    """What a request got: no status where there was no answer."""

    path: str
    status: int | None
    detail: str
    seconds: float


class Drill:
    """Twenty files, what they have to add up to, and what the API has answered meanwhile."""

    def __init__(self, running: Running) -> None:
        """Begin with empty tables."""
        engine.sql(running, "TRUNCATE sales_imports CASCADE")
        self.running = running
        self.expected = sales.Figures()
        self.ids: list[str] = []
        self.answers: list[Answer] = []
        self._stop = threading.Event()

    def post(self, number: int) -> None:
        """Post so many files; each is tried until it is accepted."""
        for _ in range(number):
            seed = next(seeds)
            content, figures = sales.generated(ROWS, seed)
            self.ids.append(sales.upload(self.running, content, f"{seed}.csv")["id"])
            self.expected.update(figures)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Accept files, let the workers begin, and accept the rest while the block breaks something."""
        engine.on_all(self.running, "rqworker", "pause")
        try:
            self.post(BEFORE)
        finally:
            engine.on_all(self.running, "rqworker", "unpause")
        wait_until(lambda: "running" in self.statuses(), what="imports that run")
        watchers = [_in_background(self._ask, path) for path in WATCHED]
        try:
            poster = _in_background(self.post, DURING)
            yield
            poster.join(180)
            wait_until(lambda: len(self.ids) == BEFORE + DURING, what="all files to be accepted")
            ended = {"finished", "failed"}
            wait_until(lambda: self.statuses() and self.statuses() <= ended, 180, "all imports to end")
            engine.wait_until_well(self.running)
        finally:
            self._stop.set()
            for watcher in watchers:
                watcher.join()

    def _ask(self, path: str) -> None:
        while not self._stop.wait(0.2):
            began = time.monotonic()
            response = self.running.request("GET", path)
            seconds, status = time.monotonic() - began, response.status_code if response is not None else None
            detail = response.json()["detail"] if response is not None and status != 200 else ""
            self.answers.append(Answer(path, status, detail, seconds))

    def imports(self) -> dict[str, dict[str, Any]]:
        """All imports by id, none while the API does not answer."""
        found: list[dict[str, Any]] = self.running.get("/api/v1/sales/imports?limit=1000") or []
        return {each["id"]: each for each in found}

    def statuses(self) -> set[str]:
        """The states in which the imports are."""
        return {each["status"] for each in self.imports().values()}

    def check(self, *, api_may_be_gone: bool = False, reason: str = "") -> None:
        """Every import finished once, with every row, and the API answered in time, well or with a reason.

        Args:
            api_may_be_gone: whether there may have been no API to answer.
            reason: what an answer with 503 has said.
        """
        found = self.imports()
        assert set(found) == set(self.ids)
        for each in found.values():
            ended = (each["status"], each["rows_done"], each["rows_rejected"])
            assert ended == ("finished", ROWS, 0), json.dumps(each, indent=1)
        assert engine.sql(self.running, "SELECT count(*) FROM sales_lines") == str(ROWS * len(self.ids))
        assert sales.shown(self.running) == self.expected
        assert {answer.status for answer in self.answers} <= {200, 503, None}
        reasons = {answer.detail for answer in self.answers if answer.status == 503}
        assert all(reasons)
        assert not reason or any(reason in each for each in reasons), reasons
        gone = [answer for answer in self.answers if answer.status is None]
        assert api_may_be_gone or not gone, f"{len(gone)} of {len(self.answers)} without an answer"
        slowest = max(self.answers, key=lambda answer: answer.seconds)
        assert slowest.seconds < limits.REQUEST, slowest


def _in_background(function: Callable[..., object], argument: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=(argument,), daemon=True)
    thread.start()
    return thread
