"""Writes `docs/BENCHMARKS.md` and its pictures."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from bench import pictures
from bench.machine import Machine
from bench.plan import QUICK, Plan
from bench.results import ApiResult, JobsResult, Results, WatchResult, WorkerResult
from bench.stats import median, p95
from bench.tables import cell, ms, named, table, wrapped
from tools.project import ROOT

DOCS = ROOT / "docs"
GUIDE = DOCS / "BENCHMARKS.md"
WORKER_PICTURE, API_PICTURE = DOCS / "benchmarks-worker.svg", DOCS / "benchmarks-api.svg"

NONE = "–"  # noqa: RUF001
"""In a cell with nothing to say."""

TEMPLATE = Path(__file__).with_name("BENCHMARKS.md.template")

SCALE, PAGE, PRODUCTION = (
    "## Larger applications: save → live\n", "## Page: save → repainted\n", "## Production\n"
)  # fmt: skip
SECTIONS = (SCALE, PAGE, PRODUCTION)
"""How the sections begin that are written by themselves, the last ones of the guide."""


def write_section(section: str) -> None:
    """Put a section into the guide, in the place of the one that begins like it; the others stay."""
    guide = GUIDE.read_text() if GUIDE.is_file() else ""
    parts = re.split(f"^(?={'|'.join(SECTIONS)})", guide, flags=re.MULTILINE)
    texts = {_place(text): text.strip() for text in (*parts, section)}
    GUIDE.write_text("\n\n".join(texts[place] for place in sorted(texts) if texts[place]) + "\n")


def _place(text: str) -> int:
    return next((place for place, begins in enumerate(SECTIONS, 1) if text.startswith(begins)), 0)


def write(results: Results, machine: Machine, plan: Plan) -> list[str]:
    """Write the guide and its pictures; returns what was written, relative to the repository.

    The sections that are written by themselves stay as they are.
    """
    pictures.draw(WORKER_PICTURE, "Worker: save → first job on new code, median", _bars(results.workers))
    pictures.draw(API_PICTURE, "API: save → live, median", _bars(results.apis))
    text = Template(TEMPLATE.read_text()).substitute(
        machine=f"{machine.cores} cores ({machine.processor}), {machine.kernel}",
        load=f"{machine.load:.1f}",
        date=machine.date,
        packages=wrapped(machine.packages, indent=2),
        run="`make bench QUICK=1`, the short run," if plan is QUICK else "`make bench`",
        longest=f"{plan.longest_idle:g}",
        saves=plan.rounds * plan.saves,
        turns=f"{plan.rounds} rounds" if plan.rounds > 1 else "one round",
        rest=f"{plan.rest:g}",
        patience=f"{plan.patience:g}",
        workers=table(
            "worker | version | median | p95 | of ours | not taken | lost / failed / twice | old code after",
            (_worker_row(worker, _ours(results.workers)) for worker in results.workers),
        ),
        apis=table(
            "API | version | median | p95 | of ours | not taken | longest wait | refused / failed",
            (_api_row(api, _ours(results.apis)) for api in results.apis),
        ),
        jobs=table(
            "worker | jobs a second | of ours | enqueue → start, median | p95 | of ours",
            _job_rows(results.jobs),
        ),
        watchers=table(
            " | ".join(
                [
                    "watching, % of a core",
                    *(f"{size:,} files" for size in plan.sizes),
                    "a save is noticed after",
                ]
            ),
            (_watcher_row(watcher, plan.sizes) for watcher in results.watchers),
        ),
    )
    write_section(text)
    return [str(path.relative_to(ROOT)) for path in (GUIDE, WORKER_PICTURE, API_PICTURE)]


def summary(results: Results) -> str:
    """A line for each that was measured, for the terminal."""
    lines = []
    for kind, found in (("worker", results.workers), ("API", results.apis)):
        for result in found:
            time = f"{ms(median(result.seconds)):>9}" if result.seconds else " " * 9
            lines.append(f"{kind:>7} {time}  {result.peer.name}  {result.problem}".rstrip())
    return "\n".join(lines)


def _worker_row(result: WorkerResult, ours: float | None) -> str:
    fate = f"{result.lost} / {result.failed} / {result.twice} of {result.asked:,}"
    return _reload_row(result, ours, [fate, str(result.stale)])


def _api_row(result: ApiResult, ours: float | None) -> str:
    fate = f"{result.refused} / {result.failed} of {result.asked:,}"
    return _reload_row(result, ours, [ms(result.longest_wait), fate])


def _reload_row(result: WorkerResult | ApiResult, ours: float | None, fate: list[str]) -> str:
    name = named(result.peer.name, is_ours=result.peer.is_ours)
    if not result.asked:
        return f"{name} | {result.peer.version or NONE} | left out: {cell(result.problem)}" + " | " * (
            2 + len(fate)
        )
    name += f" (ended: {cell(result.problem)})" if result.problem else ""
    cells = [name, result.peer.version or NONE, *times(result.seconds), _ratio(result.seconds, ours)]
    cells += [f"{result.missed} of {result.missed + len(result.seconds)}", *fate]
    return " | ".join(cells)


def _job_rows(results: Sequence[JobsResult]) -> Iterable[str]:
    ours = results[0]
    for result in results:
        name = named(result.peer.name, is_ours=result.peer.is_ours)
        if not result.rates:
            yield f"{name} | left out: {cell(result.problem)} | | | |"
            continue
        rate = median(result.rates)
        share = f"{rate / median(ours.rates):.2f}x" if ours.rates else NONE
        start = _ratio(result.starts, median(ours.starts) if ours.starts else None)
        yield " | ".join([name, f"{rate:,.1f}", share, *times(result.starts), start])


def _watcher_row(result: WatchResult, sizes: Sequence[int]) -> str:
    cells = [f"{result.cpu[size]:.2f}" if size in result.cpu else NONE for size in sizes]
    noticed = ms(median(result.noticed)) if result.noticed else NONE
    problem = f" (left out: {cell(result.problem)})" if result.problem else ""
    return " | ".join([named(result.name, is_ours=result.kind.startswith("ours")) + problem, *cells, noticed])


def _bars(results: Sequence[WorkerResult | ApiResult]) -> list[pictures.Bar]:
    return [
        pictures.Bar(result.peer.name, 1000 * median(result.seconds), result.peer.is_ours)
        for result in results
        if result.seconds
    ]


def _ours(results: Sequence[WorkerResult | ApiResult]) -> float | None:
    return next(
        (median(result.seconds) for result in results if result.peer.is_ours and result.seconds), None
    )


def times(seconds: Sequence[float]) -> list[str]:
    """Median and p95, as cells of a table."""
    return [ms(median(seconds)), ms(p95(seconds))] if seconds else ["never", "never"]


def _ratio(seconds: Sequence[float], ours: float | None) -> str:
    return f"{median(seconds) / ours:.1f}x" if seconds and ours else NONE
