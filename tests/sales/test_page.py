"""The page in a real browser: what it shows, what it tells while it is open, and who can use it."""

import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from playwright.sync_api import TimeoutError as NothingHappened
from redis import Redis

from tests.conftest import wait_until
from tests.kit.chromium import CONTRAST, LIGHT_AND_DARK, browser, without_problems
from tests.sales.page_stack import Stack, running_stack, write_sales

__all__ = ["browser"]


@pytest.fixture(scope="module")
def site(browser: Browser, redis_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The API and a worker with a year of sales and one file of which some rows were rejected."""
    Redis.from_url(redis_server).flushall()
    with running_stack(tmp_path_factory.mktemp("site"), redis_url=redis_server) as site:
        files = tmp_path_factory.mktemp("files")
        rows = write_sales(files / "a year.csv", 374).read_text().splitlines()
        _post(site, "a year.csv", "\n".join(rows))
        rows[2] = rows[2].replace("2010-12", "2010-99")
        _post(site, "a file with a long name and some rejected rows.csv", "\n".join(rows[:5]))
        yield site


@pytest.fixture(scope="module")
def window(browser: Browser) -> Page:
    return browser.new_page(reduced_motion="reduce")


@pytest.fixture
def page(window: Page, site: Stack) -> Iterator[Page]:
    """The page as it is when it was just opened on a phone; it must not report any error."""
    window.set_viewport_size({"width": 360, "height": 740})
    window.emulate_media(color_scheme="light")
    wait_until(
        lambda: "on_disk" not in httpx.get(f"{site.url}/version").json(), what="the code of the last test"
    )
    with without_problems(window):
        window.goto(site.url)
        expect(window.locator("#live")).to_have_text("live")
        yield window


def _post(site: Stack, name: str, content: str) -> str:
    """Import a file as another client does, and wait until that has ended; returns its id."""
    imports = f"{site.url}/api/v1/sales/imports"
    posted = httpx.post(imports, files={"file": (name, content)}).json()
    wait_until(lambda: httpx.get(f"{imports}/{posted['id']}").json()["finished_at"], what=f"{name} to end")
    return str(posted["id"])


def _total(site: Stack) -> str:
    summary = httpx.get(f"{site.url}/api/v1/sales/summary?group_by=day").json()
    return f"{Decimal(summary['total']):,.2f}"


def test_an_upload_shows_its_progress_and_then_the_new_figures(
    page: Page, site: Stack, tmp_path: Path
) -> None:
    before = page.locator(".total").inner_text()
    file = write_sales(tmp_path / "many rows.csv", 30, rows_a_day=300)
    page.set_input_files("#file", file)
    page.get_by_role("button", name="Import").click()
    page.wait_for_function(
        "() => { const bar = document.querySelector('[data-import] progress');"
        " return bar && bar.value > 0 && bar.value < bar.max }"
    )
    expect(page.get_by_role("status")).to_have_text("many rows.csv: 9,000 rows imported, 0 rejected.")
    expect(page.locator("[data-import]").first).to_contain_text("finished")
    expect(page.locator(".total")).to_have_text(_total(site))
    assert page.locator(".total").inner_text() != before


def test_an_import_that_another_client_makes_shows_up(page: Page, site: Stack, tmp_path: Path) -> None:
    _post(site, "by another client.csv", write_sales(tmp_path / "sales.csv", 2).read_text())
    expect(page.locator("[data-import]").first).to_contain_text("by another client.csv")
    expect(page.locator(".total")).to_have_text(_total(site))


def test_nothing_is_requested_while_nothing_happens(page: Page) -> None:
    with pytest.raises(NothingHappened):
        page.wait_for_event("request", timeout=2_500)


def test_a_change_of_the_code_shows_while_the_page_is_open(page: Page, site: Stack) -> None:
    codes = page.locator("#running code")
    old = codes.all_inner_texts()
    assert len(old) == 2
    finished = site.log("api").count("Finished server process")
    page.set_input_files("#file", site.folder / "pyproject.toml")
    site.save("src/sales/page.py", "IMPORTS, MAX_COUNTRIES = 8,", "IMPORTS, MAX_COUNTRIES = 1,")
    expect(page.locator("[data-import]")).to_have_count(1)
    for index in (0, 1):
        expect(codes.nth(index)).not_to_have_text(old[index])
    expect(page.locator("#file"), "what was chosen stays").to_have_value(re.compile(r"pyproject\.toml$"))
    wait_until(
        lambda: site.log("api").count("Finished server process") > finished, what="the old stream to end"
    )

    site.save("src/sales/page.py", "IMPORTS, MAX_COUNTRIES = 1,", "IMPORTS, MAX_COUNTRIES = (8,")
    expect(page.locator("#running")).to_contain_text("src/sales/page.py")
    expect(page.locator("#running")).to_contain_text("waiting for a fix")
    site.save("src/sales/page.py", "IMPORTS, MAX_COUNTRIES = (8,", "IMPORTS, MAX_COUNTRIES = 8,")
    expect(page.locator("#running")).to_contain_text("up to date")
    assert [codes.nth(0).inner_text(), codes.nth(1).inner_text()] == old


def test_code_that_only_the_worker_cannot_load_shows_why(page: Page, site: Stack) -> None:
    folder = site.folder / "src" / "broken"
    folder.mkdir()
    (folder / "jobs.py").write_text("1 / 0\n")
    running = page.locator("#running")
    expect(running).to_contain_text("worker: src/broken/jobs.py:1: ZeroDivisionError: division by zero")
    expect(running.get_by_role("row").first).to_contain_text("up to date")
    shutil.rmtree(folder)
    expect(running).not_to_contain_text("On disk")


def test_a_reload_of_the_code_leaves_open_what_was_open(page: Page, site: Stack) -> None:
    summary = page.get_by_text("Rejected rows of")
    summary.click()
    version = page.locator("#figures").get_attribute("data-version") or ""
    site.save(
        "src/sales/schemas.py", '"""What the sales API takes and answers."""', '"""What the API answers."""'
    )
    expect(page.locator("#figures")).not_to_have_attribute("data-version", version)
    expect(page.get_by_role("region", name="Rejected rows of")).to_be_visible()
    expect(summary).to_be_focused()


def test_the_labels_of_a_year_are_readable(page: Page) -> None:
    dates = page.locator(".date:not(.year)")
    assert dates.all_text_contents() == ["Jan", "Mar", "May", "Jul", "Sep", "Nov"]
    assert page.locator(".year").all_text_contents() == ["2011"]
    for width in (360, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        boxes = [box for box in (dates.nth(i).bounding_box() for i in range(6)) if box]
        assert all(left["x"] + left["width"] < right["x"] for left, right in pairwise(boxes))
        assert all(box["height"] >= 11 and 0 <= box["x"] <= width - box["width"] for box in boxes)


def test_it_fits_a_phone(page: Page) -> None:
    page.get_by_text("Rejected rows of").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate(
        "[...document.querySelectorAll('main *')].every((e) => e.getBoundingClientRect().right <= 360)"
    )


def test_text_has_contrast_and_the_chart_its_colours_in_light_and_dark(page: Page) -> None:
    page.get_by_text("Rejected rows of").click()
    colours = []
    for scheme in LIGHT_AND_DARK:
        page.emulate_media(color_scheme=scheme)
        texts = page.evaluate(CONTRAST)
        assert len(texts) > 50
        assert [text for text in texts if text["ratio"] < 4.5] == []
        column = page.locator(".columns rect:not(.hover)").first
        colours.append(column.evaluate("(e) => [document.body, e].map((e) => JSON.stringify("
            "[getComputedStyle(e).backgroundColor, getComputedStyle(e).fill]))"))  # fmt: skip
    (light_page, light_column), (dark_page, dark_column) = colours
    assert "rgb(13, 17, 23)" in dark_page
    assert light_page != dark_page
    assert light_column != dark_column


def test_the_top_countries_say_that_there_are_more(page: Page) -> None:
    countries = page.get_by_role("region", name="Revenue by country")
    expect(countries).to_contain_text("The top 12 of 15 countries.")
    expect(countries.get_by_role("link")).to_have_attribute("href", "/api/v1/sales/summary?group_by=country")


def test_a_rejected_row_says_why_with_the_keyboard_alone(page: Page) -> None:
    summary = page.get_by_text("Rejected rows of")
    _tab_to(page, "summary")
    page.keyboard.press("Enter")
    region = page.get_by_role("region", name="Rejected rows of")
    expect(region.get_by_role("row").nth(1)).to_contain_text("3InvoiceDate'2010-99-01")
    page.keyboard.press("Tab")
    expect(region).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(summary).to_be_focused()
    assert summary.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid"


def test_a_file_that_fails_is_imported_and_retried_with_the_keyboard_alone(
    page: Page, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_bytes(b"\0 is no text")
    page.on("filechooser", lambda _chooser: None)  # Chromium is told in time to leave the dialog to the test
    _tab_to(page, "#file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(broken)
    _tab_to(page, "#upload button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("broken.csv: failed.")
    expect(page.get_by_text("This is a binary file")).to_be_visible()
    _tab_to(page, "[data-retry]")
    with page.expect_response("**/retry") as response:
        page.keyboard.press("Enter")
    assert response.value.status == 202
    expect(page.get_by_role("status")).to_have_text("broken.csv: failed.")


def test_an_import_is_deleted_with_the_keyboard_alone_once_that_is_confirmed(
    page: Page, site: Stack, tmp_path: Path
) -> None:
    _post(site, "to be deleted.csv", write_sales(tmp_path / "sales.csv", 3).read_text())
    newest = page.locator("[data-import]").first
    expect(newest).to_contain_text(re.compile("to be deleted.csv.*finished", re.DOTALL))
    before = page.locator(".total").inner_text()
    _tab_to(page, "[data-delete]")
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.keyboard.press("Enter")
    expect(newest).to_contain_text("to be deleted.csv")
    page.once("dialog", lambda dialog: dialog.accept())
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("to be deleted.csv deleted.")
    expect(page.locator(".total")).to_have_text(_total(site))
    assert page.locator(".total").inner_text() != before
    expect(page.locator("[data-delete]").first).to_be_focused()


def _tab_to(page: Page, selector: str) -> None:
    """Press Tab until the first such element has the focus."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.locator(selector).first.evaluate("(e) => e === document.activeElement"):
            return
    pytest.fail(f"no Tab reaches {selector}")
