"""Scale: from a save to the first answer of new code, its cost and memory, in ever larger applications."""

import itertools
import random
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from string import Template

import psutil

from bench import app, report
from bench.machine import Machine
from bench.measure_api import asking, first_answer, serving
from bench.peers import APIS
from bench.plan import ScalePlan
from bench.processes import cpu_seconds, memory
from bench.progress import Progress
from bench.results import ScaleResult
from bench.stats import median, p95
from bench.tables import cell, ms, named, table
from bench.venvs import UnavailableError

PEERS = [peer for peer in APIS if peer.package != "fastapi-cli"]
"""`fastapi dev` reloads as uvicorn does."""
EXPECTED = (UnavailableError, OSError, psutil.Error, subprocess.SubprocessError)
TEMPLATE = Path(__file__).with_name("SCALE.md.template")
PLACES = ("first", "middle", "last", "random")
ASKED = 0.5
"""Seconds for which the client asks before a save, and after it is live."""
STEP, REST = 1.0, 0.05
"""A tool is at rest when it takes less than so much CPU time in such a step; both in seconds."""
PATIENCE, PER_SECOND = 5, 80
"""Seconds for a save to be live, and the modules for which there is one more."""
LONGEST = 120
"""Seconds for the first answer of all, and for coming to rest."""


class Tree:
    """An application, and the versions of its modules."""

    def __init__(self, folder: Path, modules: int) -> None:
        self.package = app.generate(folder / "tree", modules)
        self._versions = [0] * modules
        self._next = itertools.count(1)
        self._random = random.Random(modules)  # noqa: S311

    def module(self, place: str) -> int:
        """The number of the module in a place, or another one each time."""
        modules = len(self._versions)
        others = [number for number in range(modules) if not app.is_table(number)]
        numbers = {"first": 0, "middle": modules // 2 + 2, "last": modules - 1}
        return numbers.get(place, self._random.choice(others))

    def change(self, number: int) -> tuple[int, Callable[[], None]]:
        """What the application answers once a module and all that import it are new, and what saves it."""
        version = next(self._next)
        for other in app.dependents(number, len(self._versions)):
            self._versions[other] = version
        return sum(self._versions), partial(app.save_module, self.package, number, version)


def measure(plan: ScalePlan, folder: Path, redis_url: str) -> list[ScaleResult]:
    """Save modules in an application of each size again and again, with one tool after the other.

    Args:
        plan: how much.
        folder: for the applications.
        redis_url: a Redis; the application is imported with it.
    """
    results = [ScaleResult(peer, modules=modules) for modules in plan.sizes for peer in PEERS]
    progress = Progress(len(results))
    for modules in plan.sizes:
        tree = Tree(folder / str(modules), modules)
        for result in (result for result in results if result.modules == modules):
            progress.step(f"{modules:,} modules: {result.peer.name}")
            try:
                _measure(result, plan.saves, tree, redis_url)
            except EXPECTED as error:
                result.problem = str(error)
    progress.end()
    return results


def section(results: list[ScaleResult], plan: ScalePlan, machine: Machine) -> str:
    """The section of the guide."""
    heads = f"tool | modules | {' | '.join(PLACES)} | p95 | not taken | CPU | memory | refused / failed"
    return Template(TEMPLATE.read_text()).substitute(
        date=machine.date,
        load=f"{machine.load:.1f}",
        results=table(heads, map(_row, results)),
        saves=plan.saves,
        patience=PATIENCE,
        per_second=PER_SECOND,
    )


def _row(result: ScaleResult) -> str:
    name = named(result.peer.name, is_ours=result.peer.is_ours)
    name += f" (ended: {cell(result.problem)})" if result.problem else ""
    seconds = [result.places.get(place, []) for place in PLACES]
    return " | ".join([
        name,
        f"{result.modules:,}",
        *(ms(median(each)) if each else report.NONE for each in seconds),
        ms(p95(result.seconds)) if result.seconds else report.NONE,
        f"{result.missed} of {result.missed + len(result.seconds)}",
        f"{mean(result.cpu):.2f} s" if result.cpu else report.NONE,
        f"{result.memory / 2**20:,.0f} MiB" if result.memory else report.NONE,
        f"{result.refused} / {result.failed} of {result.asked:,}",
    ])  # fmt: skip


def _measure(result: ScaleResult, saves: int, tree: Tree, redis_url: str) -> None:
    with serving(result.peer, tree.package, redis_url, LONGEST) as (process, port):
        before = _rest(process)
        with asking(result, port, LONGEST) as client:
            time.sleep(2 * ASKED)
        spent = _rest(process)
        cost = (spent - before) / max(len(client.answers), 1)
        for place in PLACES:
            missed = result.missed
            for _ in range(saves):
                version, save = tree.change(tree.module(place))
                with asking(result, port, LONGEST) as client:
                    time.sleep(ASKED)
                    seconds = first_answer(client, version, save, PATIENCE + result.modules / PER_SECOND)
                    time.sleep(ASKED)
                before, spent = spent, _rest(process)
                result.memory = max(result.memory, memory(process))
                if seconds is None:
                    result.missed += 1
                    if result.missed - missed == 2:
                        break
                    continue
                result.seconds.append(seconds)
                result.places.setdefault(place, []).append(seconds)
                result.cpu.append(spent - before - cost * len(client.answers))


def _rest(process: psutil.Process) -> float:
    """Wait until a tool is at rest; returns the CPU seconds that it has taken until then."""
    end = time.monotonic() + LONGEST
    before, spent = 0.0, cpu_seconds(process)
    while spent - before >= REST and time.monotonic() < end:
        time.sleep(STEP)
        before, spent = spent, cpu_seconds(process)
    return spent
