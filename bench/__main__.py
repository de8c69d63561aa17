"""`make bench`: measures everything, writes `docs/BENCHMARKS.md` and its pictures. QUICK=1 measures less."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, Protocol

import psutil
from playwright.sync_api import Error as PlaywrightError
from redis.exceptions import RedisError

from bench import (
    app,
    measure_api,
    measure_idle,
    measure_jobs,
    measure_page,
    measure_scale,
    measure_worker,
    plan,
    report,
)
from bench.machine import Machine
from bench.peers import APIS, JOBS, WORKERS
from bench.production import PICTURE, Production
from bench.progress import Progress
from bench.results import ApiResult, JobsResult, Results, WorkerResult
from bench.venvs import UnavailableError
from tests.kit.redis_server import running_redis
from tools.console import ToolError, say
from tools.project import ROOT

EXPECTED = (UnavailableError, OSError, RedisError, psutil.Error, subprocess.SubprocessError)
"""What a peer may do to us: its row says so, and the others go on."""

PARTS = ("reload", "scale", "page", "production")

OLD = 2.0
"""Seconds after which a file's time proves that it is unchanged."""


class Result(Protocol):
    """What all results have."""

    problem: str


class Bench:
    """One run, in a directory of its own."""

    def __init__(self, directory: Path, redis_url: str) -> None:
        self._plan = plan.chosen()
        self._url = redis_url
        self._directory = directory
        self._package = app.generate(directory / "tree")
        self._version = 0
        self.results = Results(
            workers=[WorkerResult(peer) for peer in WORKERS],
            apis=[ApiResult(peer) for peer in APIS],
            watchers=measure_idle.watchers(),
            jobs=[JobsResult(peer) for peer in JOBS],
        )
        found = self.results
        turns = len(found.workers) + len(found.apis) + len(found.jobs)
        watched = len(found.watchers) * len(self._plan.sizes)
        self._progress = Progress(len(found.workers) + len(found.apis) + self._plan.rounds * turns + watched)

    def run(self) -> Results:
        """Measure everything, one after the other."""
        self._install()
        for _ in range(self._plan.rounds):
            self._round()
        self._watch()
        self._progress.end()
        return self.results

    def _install(self) -> None:
        for worker in self.results.workers:
            self._attempt(worker, f"packages for {worker.peer.name}", worker.peer.bin)
        for api in self.results.apis:
            self._attempt(api, f"packages for {api.peer.name}", api.peer.bin)

    def _round(self) -> None:
        found, where = self.results, (self._plan, self._package, self._url)
        for worker in found.workers:
            action = partial(measure_worker.measure, worker, *where, self._versions())
            self._attempt(worker, f"worker: {worker.peer.name}", action)
        for api in found.apis:
            action = partial(measure_api.measure, api, *where, self._versions())
            self._attempt(api, f"API: {api.peer.name}", action)
        for jobs in found.jobs:
            action = partial(measure_jobs.measure, jobs, *where)
            self._attempt(jobs, f"jobs: {jobs.peer.name}", action)

    def _watch(self) -> None:
        for files in self._plan.sizes:
            with tempfile.TemporaryDirectory(dir=self._directory, prefix="watched-") as name:
                tree = Path(name)
                app.plain_tree(tree, files)
                time.sleep(OLD)
                for watcher in self.results.watchers:
                    where = (self._plan, tree, files, self._package.parent)
                    action = partial(measure_idle.measure, watcher, *where)
                    self._attempt(watcher, f"{files:,} files: {watcher.name}", action)

    def _versions(self) -> range:
        first = self._version + 1
        self._version += self._plan.saves
        return range(first, self._version + 1)

    def _attempt(self, result: Result, what: str, action: Callable[[], object]) -> None:
        self._progress.step(what)
        if result.problem:
            return
        try:
            action()
        except EXPECTED as error:
            result.problem = (
                str(error) if isinstance(error, UnavailableError) else f"{type(error).__name__}: {error}"
            )


def main() -> int:
    """Run the bench; returns the exit code."""
    argparse.ArgumentParser(prog="python -m bench", description=__doc__).parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        parts = _parts()
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            directory = Path(name)
            say(
                "Measuring for a little more than an hour, with QUICK=1 for less than ten minutes."
                " Keep the machine quiet."
            )
            machine = Machine.here()
            with running_redis(directory) as url:
                machine = machine.with_redis(url)
                if "reload" in parts:
                    results = Bench(directory, url).run()
                    for path in report.write(results, machine, plan.chosen()):
                        say(f"Wrote {path}")
                    say(report.summary(results))
                if "scale" in parts:
                    larger = measure_scale.measure(plan.chosen_scale(), directory, url)
                    report.write_section(measure_scale.section(larger, plan.chosen_scale(), machine))
                    say(f"Wrote {report.GUIDE.relative_to(ROOT)}")
                if "page" in parts:
                    _measure_page(directory / "page", url, machine)
                if "production" in parts:
                    production = Production(plan.chosen_production(), machine.cores)
                    production.run(url)
                    report.write_section(production.section(machine))
                    for written in (report.GUIDE, PICTURE):
                        say(f"Wrote {written.relative_to(ROOT)}")
    except ToolError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped: everything is cleaned up, nothing was written.")
        return 130
    return 0


def _measure_page(folder: Path, url: str, machine: Machine) -> None:
    try:
        section = measure_page.section(measure_page.measure(plan.chosen(), folder, url), machine)
    except (*EXPECTED, PlaywrightError) as error:
        say(f"The page was left out: {error}")
        return
    report.write_section(section)
    say(f"Wrote {report.GUIDE.relative_to(ROOT)}:\n{section}")


def _parts() -> tuple[str, ...]:
    """What to measure: the one of `PARTS` that PART names, else all."""
    chosen = os.environ.get("PART", "")
    if chosen not in ("", *PARTS):
        known = ", ".join(f"PART={part}" for part in PARTS)
        raise ToolError(f"PART={chosen} is unknown: {known}, or leave it out for all.")
    return (chosen,) if chosen else PARTS


def _leave(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
