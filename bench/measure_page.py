"""A page: from a save until the API answers with it, and until a browser has repainted the page."""

import http.client
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page

from bench import report
from bench.machine import Machine
from bench.measure_api import PAUSE
from bench.plan import Plan
from bench.tables import table
from bench.venvs import UnavailableError
from tests.kit.chromium import running_chromium
from tests.kit.production_process import Api, running_development_api
from tests.kit.services import migrate

PATIENCE = 30
"""Seconds for the first page, and for each save."""

PAINTED = """addEventListener("DOMContentLoaded", () =>
    requestAnimationFrame(() => requestAnimationFrame(() =>
        console.log(`${document.querySelector("h1").textContent} ${Date.now()}`))))"""
"""Says what a page shows as its heading, and when that has been painted."""

CODE = (
    'templates.env.globals["saved"] = "code0"\nrouter.get("/saved")(lambda: templates.env.globals["saved"])'
)
PLACES = {
    "code": ("page.py", "IMPORTS, MAX_COUNTRIES = 8, 1000", f"IMPORTS, MAX_COUNTRIES = 8, 1000\n{CODE}"),
    "template": ("templates/index.html", "<h1>Sales Dashboard</h1>", "<h1>template0 {{ saved }}</h1>"),
}
"""The files of the example that are saved, and what they contain from then on."""


@dataclass
class PageResult:
    """Seconds from the saves of one kind of file until it is painted."""

    kind: str
    live: list[float] = field(default_factory=list)
    """Until the API answers with code; a template is read again by the code that runs."""
    painted: list[float] = field(default_factory=list)


def measure(plan: Plan, folder: Path, redis_url: str) -> list[PageResult]:
    """Run the API of this repository in development with its page in a browser, and save again and again.

    Args:
        plan: how much.
        folder: for a copy of the code and a database.
        redis_url: a Redis.

    Raises:
        UnavailableError: there is no Chromium.
    """
    folder.mkdir()
    results = [PageResult(kind) for kind in PLACES]
    with _open_page(folder, redis_url) as (api, page), ThreadPoolExecutor(1) as pool:
        for place in PLACES.values():
            _save(folder, *place)
        _wait_for(page, "code0")
        for number in range(1, plan.rounds * plan.saves + 1):
            for result in results:
                time.sleep(plan.rest + 0.13 * (number % 7))
                text = f"{result.kind}{number}"
                saved = time.time()
                _save(folder, PLACES[result.kind][0], f"{result.kind}{number - 1}", text)
                live = pool.submit(_first_answer, api, text) if result.kind == "code" else None
                result.painted.append(_wait_for(page, text) - saved)
                if live:
                    result.live.append(live.result() - saved)
    return results


def section(results: list[PageResult], machine: Machine) -> str:
    """The section of the guide."""
    rows = []
    for result in results:
        live = report.times(result.live) if result.live else [report.NONE] * 2
        rows.append(" | ".join([result.kind, *live, *report.times(result.painted)]))
    heads = "saved | the API answers with it, median | p95 | the page is repainted, median | p95"
    return f"""{report.PAGE}
`make bench PART=page` wrote this section on {machine.date}; the load before the run was {machine.load:.1f}.

{table(heads, rows)}

The example of this repository in development, with its page in a headless Chromium. Another client asks
every few milliseconds when new code is live. A changed template is read again by the code that runs, but the
page is repainted once the next generation is live.

"""


@contextmanager
def _open_page(folder: Path, redis_url: str) -> Iterator[tuple[Api, Page]]:
    database_url = f"sqlite:///{folder / 'app.db'}"
    migrate(os.environ | {"DATABASE_URL": database_url})
    with running_development_api(folder, redis_url, database_url) as api, running_chromium() as browser:
        if browser is None:
            raise UnavailableError("no Chromium: apt install chromium, or playwright install chromium")
        page = browser.new_page()
        page.add_init_script(PAINTED)
        page.goto(api.url)
        yield api, page


def _save(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "src" / "sales" / name
    scratch = path.with_suffix(".tmp")
    scratch.write_text(path.read_text().replace(old, new))
    scratch.replace(path)


def _first_answer(api: Api, text: str) -> float:
    """When the API first answers with a text."""
    end = time.time() + PATIENCE
    while time.time() < end:
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=PATIENCE)
        with closing(connection), suppress(OSError):
            connection.request("GET", "/saved", headers={"Connection": "close"})
            if text in connection.getresponse().read().decode():
                return time.time()
        time.sleep(PAUSE)
    raise TimeoutError(f"{text} is not live after {PATIENCE} s")


def _wait_for(page: Page, text: str) -> float:
    """When a text has been painted in the heading."""
    line = page.wait_for_event(
        "console", lambda line: text in line.text.split()[:-1], timeout=1000 * PATIENCE
    )
    return float(line.text.split()[-1]) / 1000
