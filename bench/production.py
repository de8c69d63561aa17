"""The part about production: measures it, and writes its section of `docs/BENCHMARKS.md`."""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from string import Template

import httpx2
import psutil
from sqlalchemy import create_engine, text

from bench import measure_delivery, measure_edge, measure_imports, measure_servers, pictures
from bench.machine import Machine
from bench.measure_delivery import DeliveryResult
from bench.measure_imports import WORKERS, GrowthResult, LargeResult
from bench.measure_servers import ROUTES, ServerResult
from bench.plan import PRODUCTION_QUICK, ProductionPlan
from bench.progress import Progress
from bench.stack import Stack, prepared
from bench.stats import median
from bench.tables import cell, ms, named, table, wrapped
from bench.venvs import OWN, UnavailableError, versions
from tools import probe
from tools.project import ROOT

PICTURE = ROOT / "docs" / "benchmarks-servers.svg"
TEMPLATE = Path(__file__).with_name("PRODUCTION.md.template")
PICTURED = "imports as JSON"
EXPECTED = (UnavailableError, OSError, httpx2.HTTPError, psutil.Error, subprocess.SubprocessError)
PACKAGES = ("gunicorn", "uvicorn", "uvicorn-worker", "fastapi", "sqlalchemy", "rq")


class Production:
    """One run."""

    def __init__(self, plan: ProductionPlan, processes: int) -> None:
        """Nothing is measured yet.

        Args:
            plan: how much.
            processes: of each server.
        """
        self._plan = plan
        self._processes = processes
        self._database = ""
        self._growth = [GrowthResult(workers) for workers in WORKERS]
        self._large = LargeResult(plan.rows)
        self._servers = measure_servers.servers()
        self._delivery = [
            DeliveryResult("`make dev` in a fresh clone, natively, with pip's cache"),
            DeliveryResult("a changed line in `src`, `make prod` on Docker"),
        ]
        self._edge = measure_edge.EdgeResult()
        steps = len(self._growth) + 1 + plan.rounds * len(self._servers) + 3 * plan.is_delivery_measured
        self._progress = Progress(steps)

    def run(self, redis_url: str) -> None:
        """Measure everything, one after the other."""
        with prepared(redis_url) as stack:
            self._database = _version(stack)
            self._imports(stack)
            for _ in range(self._plan.rounds):
                for server in self._servers:
                    action = partial(measure_servers.measure, server, stack, self._processes, self._plan.load)
                    self._attempt(server, f"requests: {server.name}", action)
        if self._plan.is_delivery_measured:
            with tempfile.TemporaryDirectory(prefix="bench-delivery-") as folder:
                for delivery, measure in zip(
                    self._delivery, (measure_delivery.development, measure_delivery.production), strict=True
                ):
                    self._attempt(delivery, delivery.name, partial(measure, delivery, Path(folder)))
                action = partial(measure_edge.measure, self._edge, Path(folder), self._plan.load, 3)
                self._attempt(self._edge, "the edge", action)
        self._progress.end()

    def _imports(self, stack: Stack) -> None:
        ours = next(iter(measure_servers.SERVERS.values()))
        with stack.api(ours, 1) as api:
            for growth in self._growth:
                action = partial(measure_imports.grow, growth, stack, api, self._plan)
                self._attempt(growth, f"imports, workers: {growth.workers}", action)
            large = partial(measure_imports.import_large, self._large, stack, api, self._plan)
            self._attempt(self._large, f"import of {self._large.rows:,} rows", large)

    def _attempt(
        self,
        result: GrowthResult | LargeResult | ServerResult | DeliveryResult | measure_edge.EdgeResult,
        what: str,
        action: Callable[[], object],
    ) -> None:
        self._progress.step(what)
        if result.problem:
            return
        try:
            action()
        except EXPECTED as error:
            result.problem = (
                str(error) if isinstance(error, UnavailableError) else f"{type(error).__name__}: {error}"
            )

    def section(self, machine: Machine) -> str:
        """The section of the guide; its picture is written, too."""
        bars = [
            pictures.Bar(server.name, median(server.rates[PICTURED]), server.is_ours)
            for server in self._servers
            if PICTURED in server.rates
        ]
        title = "Requests a second, imports as JSON"
        pictures.draw(PICTURE, title, bars, "a second", is_more_better=True)
        found = versions(OWN / "python")
        is_quick = self._plan is PRODUCTION_QUICK
        return Template(TEMPLATE.read_text()).substitute(
            run="`make bench PART=production" + (" QUICK=1`, the short run," if is_quick else "`"),
            date=machine.date,
            machine=f"{machine.cores} cores ({machine.processor}), {machine.kernel}",
            load=f"{machine.load:.1f}",
            packages=wrapped(
                ", ".join(
                    [
                        self._database,
                        f"Redis {machine.redis}",
                        *(f"{name} {found[name]}" for name in PACKAGES),
                    ]
                ),
                indent=2,
            ),
            processes=self._processes,
            connections=measure_servers.CONNECTIONS,
            seconds=f"{self._plan.load:g}",
            turns=self._plan.rounds,
            servers=table(
                " | ".join(["server", *(f"{r}, a second | of ours | p99" for r in ROUTES), "failed"]),
                map(self._server_row, self._servers),
            ),
            growth=table("workers | imports a second | of one | rows a second | of one", self._growth_rows()),
            small=measure_imports.SMALL_ROWS,
            large=f"{measure_imports.LARGE_ROWS:,}",
            rows=f"{self._large.rows:,}",
            import_=wrapped(self._import_line()),
            answers=table("answer | median | slowest", self._answer_rows()),
            delivery=table("what | in all | of which", map(_delivery_row, self._delivery)),
            canary=probe.CANARY,
            edge=table(
                "route | API alone, a second | through the edge | of alone | p99 alone | p99 through",
                self._edge_rows(),
            ),
            deployments=table(
                "deployment | median | requests | failed | longest wait",
                map(_deployment_row, self._edge.deployments),
            ),
        )

    def _edge_rows(self) -> Iterable[str]:
        if not self._edge.deployments:
            yield f"left out: {cell(self._edge.problem or 'a full run measures it')} | | | | |"
        for route, (rate, p99) in self._edge.alone.items():
            through, slowest = self._edge.through[route]
            shares = f"{rate:,.0f} | {through:,.0f} | {through / rate:.2f}x"
            yield f"{route} | {shares} | {ms(p99)} | {ms(slowest)}"

    def _server_row(self, result: ServerResult) -> str:
        cells = [named(result.name, is_ours=result.is_ours)]
        if result.problem:
            cells[0] += f" (left out: {cell(result.problem)})"
        for route in ROUTES:
            rates, ours = result.rates.get(route), self._servers[0].rates.get(route)
            if not rates or not ours or not median(ours):
                cells += ["", "", ""]
                continue
            cells += [f"{median(rates):,.0f}", f"{median(rates) / median(ours):.2f}x"]
            cells.append(ms(median(result.p99[route])))
        return " | ".join([*cells, str(result.failed)])

    def _growth_rows(self) -> Iterable[str]:
        one = self._growth[0]
        for result in self._growth:
            if result.problem or one.problem:
                yield f"{result.workers} (left out: {cell(result.problem or one.problem)}) | | | |"
                continue
            shares = f"{result.imports / one.imports:.2f}x", f"{result.rows / one.rows:.2f}x"
            yield f"{result.workers} | {result.imports:,.1f} | {shares[0]} | {result.rows:,.0f} | {shares[1]}"

    def _import_line(self) -> str:
        result = self._large
        if result.problem:
            return f"Left out: {cell(result.problem)}"
        rate = result.rows / result.seconds
        return (
            f"{result.rows:,} rows took {result.seconds:.1f} s ({rate:,.0f} a second) on {result.database}. "
            f"The largest process of the worker had {_mib(result.memory)}, with a tenth of the rows "
            f"{_mib(result.tenth_memory)}; the largest of the API, upload included,"
            f" {_mib(result.api_memory)}."
        )

    def _answer_rows(self) -> Iterable[str]:
        for what, seconds in self._large.answers.items():
            yield f"{what} | {ms(median(seconds))} | {ms(max(seconds))}"


def _deployment_row(result: measure_edge.Deployment) -> str:
    seconds = f"{median(result.seconds):.1f} s" if result.seconds else ""
    return f"{result.name} | {seconds} | {result.requests:,} | {result.failed:,} | {ms(result.longest)}"


def _delivery_row(result: DeliveryResult) -> str:
    if not result.steps:
        return f"{result.name} | | left out: {cell(result.problem or 'a full run measures it')}"
    parts = ", ".join(f"{what}: {seconds:.1f} s" for what, seconds in result.steps)
    return f"{result.name} | {sum(seconds for _, seconds in result.steps):.1f} s | {parts}"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _version(stack: Stack) -> str:
    engine = create_engine(stack.database_url)
    with contextlib.closing(engine.connect()) as connection:
        query = "SHOW server_version" if stack.database == "Postgres" else "SELECT sqlite_version()"
        found = str(connection.scalar(text(query))).split()[0]
    engine.dispose()
    return f"{stack.database} {found}"
