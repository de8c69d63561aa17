"""Makes the pictures of the README: `python -m tests.sales.screenshots`.

SALES_DATA_DIR names a folder with `online_retail_10k.csv` to show; without it, a year of sales is made up.
"""

import html
import os
import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.conftest import ROOT, wait_until
from tests.kit.chromium import running_chromium
from tests.kit.redis_server import running_redis
from tests.sales.page_stack import Stack, running_stack, write_sales

DOCS = ROOT / "docs"
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; padding: 28px; width: fit-content; background: #eef0f4;
  font: 13px/1.7 "JetBrains Mono", monospace; }
main { background: #0d1117; color: #c9d3df; border-radius: 12px; padding: 16px 22px 20px; white-space: pre;
  box-shadow: 0 8px 24px #10182833; }
header { height: 12px; margin: 0 0 14px; border-radius: 6px; width: 60px;
  background: radial-gradient(circle, #3a4350 5.5px, transparent 6px) 0 0 / 20px 12px; }
.api { color: #7ea2ff; } .worker { color: #6fd49a; } b { color: #fff; } .command { color: #9ba6b4; }
</style><main><header></header>"""


def main() -> None:
    """Write the pictures into `docs/`.

    Raises:
        SystemExit: there is no Chromium.
    """
    with tempfile.TemporaryDirectory() as name, running_chromium() as browser:
        if browser is None:
            sys.exit("No Chromium found: install the system's, or run `playwright install chromium`.")
        folder = Path(name)
        for part in ("redis", "site"):
            (folder / part).mkdir()
        with running_redis(folder / "redis") as redis_url, running_stack(folder / "site", redis_url) as site:
            _picture_page(browser, site, _sales_files(folder))
            _picture_reload(browser, site)


def _sales_files(folder: Path) -> list[Path]:
    rejected = folder / "december.csv"
    lines = write_sales(rejected, 3).read_text().splitlines()
    lines[4] = lines[4].replace("2010-12-01", "2010-12-32")
    lines[7] = re.sub(r"PRODUCT,-?\d+", "PRODUCT,six", lines[7])
    rejected.write_text("\n".join(lines))
    if data := os.environ.get("SALES_DATA_DIR"):
        return [rejected, Path(data) / "online_retail_10k.csv"]
    return [rejected, write_sales(folder / "online-sales-2011.csv", 374, rows_a_day=24)]


def _picture_page(browser: Browser, site: Stack, files: list[Path]) -> None:
    page = browser.new_page(viewport={"width": 1120, "height": 800}, reduced_motion="reduce")
    page.goto(site.url)
    for file in files:
        page.set_input_files("#file", file)
        page.get_by_role("button", name="Import").click()
        expect(page.get_by_role("status")).to_contain_text("rows imported", timeout=60_000)
        expect(page.locator("[data-import]").first).to_contain_text(file.name)
    expect(page.locator("#running")).to_contain_text("idle")
    page.get_by_text("Rejected rows of").click()
    page.mouse.move(0, 0)
    page.screenshot(path=DOCS / "page.png", full_page=True)
    phone = browser.new_page(
        viewport={"width": 390, "height": 872},
        device_scale_factor=2,
        color_scheme="dark",
        reduced_motion="reduce",
    )
    phone.goto(site.url)
    expect(phone.locator("#live")).to_have_text("live")
    phone.screenshot(path=DOCS / "page-dark-phone.png")


def _picture_reload(browser: Browser, site: Stack) -> None:
    begin = {name: len(site.log(name)) for name in ("api", "worker")}
    site.save(
        "src/sales/schemas.py", '"""What the sales API takes and answers."""', '"""What the API answers."""'
    )
    wait_until(lambda: all("New " in site.log(name)[begin[name] :] for name in begin), what="the reload")
    lines = ['<span class="command">$ make dev</span>', "…"]
    for name in begin:
        for line in site.log(name)[begin[name] :].splitlines():
            text = html.escape(re.sub(r"^\S+ (\S+),(\d+) (\w+) +[\w.]+:", r"\1.\2 \3:    ", line))
            if re.search("change|CHANGED|New ", text):
                text = re.sub(r"(CODE CHANGED|New \w+ at work after [\d.]+ s)", r"<b>\1</b>", text)
                lines.append(f'<span class="{name}">{name:<6} |</span> {text}')
    page = browser.new_page(viewport={"width": 1000, "height": 400})
    page.set_content(TERMINAL + "\n".join(lines) + "</main>")
    page.locator("body").screenshot(path=DOCS / "reload.png")


if __name__ == "__main__":
    main()
