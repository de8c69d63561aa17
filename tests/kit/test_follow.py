"""In development, open pages follow the code: reloaded as they were left, or with the reason why not."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import ROOT, wait_until
from tests.kit.chromium import CONTRAST, LIGHT_AND_DARK, browser, without_problems
from tests.kit.production_process import RELOADING, Api, production_environment, running_api, started
from tests.kit.repository import replace

pytestmark = pytest.mark.slow

__all__ = ["browser"]

MAIN = '''
"""A service with pages of all kinds."""
import gzip
from pathlib import Path
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from src.kit.web.app import create_app
from src.kit.web.security import PAGE_POLICY

HERE = Path(__file__).parent / "pages"
templates = Jinja2Templates(HERE)
router = APIRouter()
VERSION = "version 1"

@router.get("/template")
def template(request: Request) -> Response:
    headers = {"Content-Security-Policy": PAGE_POLICY.format(nonce="abc+/=")}
    return templates.TemplateResponse(request, "page.html", {"version": VERSION}, headers=headers)

@router.get("/self")
def own_scripts_only() -> Response:
    return HTMLResponse(VERSION, headers={"Content-Security-Policy": "default-src 'self'"})

@router.get("/stream")
def stream() -> Response:
    return StreamingResponse(iter(["<p>one</p>", "<p>two</p>"]), media_type="text/html")

@router.get("/gzip")
def compressed() -> Response:
    return HTMLResponse(gzip.compress(b"<p>"), headers={"Content-Encoding": "gzip"})

@router.get("/missing")
def missing() -> Response:
    return HTMLResponse("<p>There is no such page.</p>", 404)

@router.get("/text")
def text() -> str:
    return "<p>not a page</p>"

app = create_app("Pages", [router])
app.mount("/static", StaticFiles(directory=HERE, html=True))
'''
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Page</title>
<link rel="stylesheet" href="/static/page.css" nonce="abc+/="></head><body><h1>{{ version }}</h1>
<form id="one"><label>Name <input name="name" value="nobody"></label><textarea id="text"></textarea>
<input type="checkbox" name="box" value="a"><input type="checkbox" name="box" value="b">
<input type="radio" name="choice" value="x" checked><input type="radio" name="choice" value="y">
<select name="pick"><option>first<option>second</select>
<select name="many" multiple><option>p<option>q<option>r</select>
<input type="hidden" name="token" value="{{ version }}"><input type="file" name="file" multiple></form>
<details><summary>More</summary>less</details><p>first template</p></body></html>
"""
STYLE = "body { min-height: 4000px; color: rgb(1, 2, 3); background: rgb(255, 255, 255) }"
CODE = {"main.py": MAIN, "pages/page.html": PAGE, "pages/page.css": STYLE}


@pytest.fixture(scope="module")
def api(redis_server: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API as `make dev` runs it, with pages of its own."""
    folder = tmp_path_factory.mktemp("api")
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(sqlite_template, folder / "app.db")
    (folder / "src" / "pages").mkdir()
    for name, text in CODE.items():
        (folder / "src" / name).write_text(text)
    environment = {"ENVIRONMENT": "development", "REDIS_URL": redis_server}
    environment["DATABASE_URL"] = f"sqlite:///{folder / 'app.db'}"
    with started(Api(folder, RELOADING, os.environ | environment, folder)) as api:
        yield api


def save(api: Api, name: str, old: str, new: str) -> None:
    """Change a file of the code, as an editor does."""
    text = _path(api, name).read_text()
    assert old in text
    replace(_path(api, name), text.replace(old, new))


def _path(api: Api, name: str) -> Path:
    return api.output.parent / "src" / name


def _loaded_at(api: Api) -> datetime:
    return datetime.fromisoformat(api.ask("/version").json()["loaded_at"])


@pytest.fixture
def page(browser: Browser, api: Api) -> Iterator[Page]:
    """A page on a phone, of the code as it was at first; it must not report any error."""
    now = datetime.now(UTC)
    changed = [name for name, text in CODE.items() if _path(api, name).read_text() != text]
    for name in changed:
        replace(_path(api, name), CODE[name])
    if changed:
        wait_until(lambda: _loaded_at(api) > now, what="the first code again")
    page = browser.new_page(viewport={"width": 360, "height": 740})
    with without_problems(page):
        with page.expect_request("**/_follow"):
            page.goto(f"{api.url}/template")
        expect(page.locator("h1")).to_have_text("version 1")
        yield page
        page.close()


def test_a_page_is_reloaded_as_it_was_left_once_new_code_is_live(page: Page, api: Api) -> None:
    page.fill("[name=name]", "Ada")
    page.fill("#text", "two\nlines")
    page.check("[value=b]")
    page.check("[value=y]")
    page.select_option("[name=pick]", "second")
    page.select_option("[name=many]", ["p", "r"])
    page.set_input_files("[name=file]", [ROOT / "README.md", ROOT / "LICENSE"])
    page.click("summary")
    page.focus("#text")
    page.evaluate("scrollTo(0, 1234); history.replaceState({ own: 1 }, '')")
    save(api, "main.py", "version 1", "version 2")
    expect(page.locator("h1")).to_have_text("version 2")
    expect(page.locator("[name=name]")).to_have_value("Ada")
    assert page.input_value("#text") == "two\nlines"
    assert [page.is_checked(f"[value={value}]") for value in "abxy"] == [False, True, False, True]
    picked = "(e) => [...e.selectedOptions].map((option) => option.text)"
    assert page.eval_on_selector("[name=pick]", picked) == ["second"]
    assert page.eval_on_selector("[name=many]", picked) == ["p", "r"]
    files = page.eval_on_selector(
        "[name=file]", "(e) => Promise.all([...e.files].map((file) => file.text()))"
    )
    assert files == [(ROOT / name).read_text() for name in ("README.md", "LICENSE")]
    assert page.locator("details").evaluate("(e) => e.open")
    expect(page.locator("#text")).to_be_focused()
    assert page.evaluate("[scrollY, history.state]") == [1234, {"own": 1}]
    assert page.input_value("[name=token]") == "version 2", "what nobody filled in is new"


def test_a_template_a_style_and_a_script_are_enough(page: Page, api: Api) -> None:
    save(api, "pages/page.html", "first template", "second template")
    expect(page.get_by_text("second template")).to_be_visible()
    save(api, "pages/page.css", "rgb(1, 2, 3)", "rgb(4, 5, 6)")
    expect(page.locator("body")).to_have_css("color", "rgb(4, 5, 6)")


def test_broken_code_shows_where_and_why_until_it_is_fixed(page: Page, api: Api) -> None:
    save(api, "main.py", 'VERSION = "version 1"', 'VERSION = "version 1')
    overlay = page.get_by_role("alert")
    line = MAIN.splitlines().index('VERSION = "version 1"') + 1
    expect(overlay).to_contain_text(f"src/main.py:{line}: SyntaxError: unterminated string")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for scheme in LIGHT_AND_DARK:
        page.emulate_media(color_scheme=scheme)
        (text,) = [text for text in page.evaluate(CONTRAST) if "SyntaxError" in text["text"]]
        assert text["ratio"] > 7
    save(api, "main.py", 'VERSION = "version 1', 'VERSION = "version 3"')
    expect(overlay).to_have_count(0)
    expect(page.locator("h1")).to_have_text("version 3")


def test_a_broken_template_shows_where_and_why_over_the_page_as_it_was(page: Page, api: Api) -> None:
    save(api, "pages/page.html", "{{ version }}", "{{ version }")
    line = next(number for number, text in enumerate(PAGE.splitlines(), 1) if "{{ version }}" in text)
    reason = f"src/pages/page.html:{line}: TemplateSyntaxError: unexpected '}}'"
    expect(page.get_by_role("alert")).to_contain_text(reason)
    expect(page.locator("h1")).to_have_text("version 1")
    save(api, "pages/page.html", "{{ version }", "fixed {{ version }}")
    expect(page.locator("h1")).to_have_text("fixed version 1")


@pytest.mark.slow  # a browser, again and again
@pytest.mark.parametrize("path", ["/docs", "/queue", "/self", "/static/page.html", "/stream", "/missing"])
def test_every_kind_of_page_follows(page: Page, api: Api, path: str) -> None:
    with page.expect_request("**/_follow"):
        page.goto(api.url + path)
    with page.expect_navigation():
        save(api, "main.py", "version 1", f"version {path}")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_hidden_page_holds_no_connection_and_catches_up_once_it_is_seen(page: Page, api: Api) -> None:
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    hide += " document.dispatchEvent(new Event('visibilitychange')) }"
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/_follow")):
        page.evaluate(hide, arg=True)
    save(api, "main.py", "version 1", "version 5")
    wait_until(lambda: "version 5" in api.ask("/template").text, what="the new code")
    expect(page.locator("h1")).to_have_text("version 1")
    page.evaluate(hide, arg=False)
    expect(page.locator("h1")).to_have_text("version 5")


def test_an_open_page_neither_delays_a_reload_nor_logs_an_error(page: Page, api: Api) -> None:
    ended = api.output.read_text().count("Finished server process")
    before = len(api.output.read_text())
    save(api, "main.py", "version 1", "version 4")
    wait_until(lambda: api.output.read_text().count("Finished server process") > ended, 20, "the old server")
    said = api.output.read_text()[before:].lower()
    assert "error" not in said
    assert "timeout graceful shutdown exceeded" not in said
    expect(page.locator("h1")).to_have_text("version 4")  # a page that is closed while it loads may hang


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/gzip", {}), ("/text", {}), ("/stream", {"Sec-Fetch-Dest": "empty"}), ("/static/page.css", {})],
)
def test_what_is_not_a_whole_page_stays_as_it_is(api: Api, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(api.url + path, headers=headers)
    assert answer.status_code == 200
    assert "_follow" not in answer.text


def test_length_and_status_stay_right(api: Api) -> None:
    page = (api.output.parent / "src" / "pages" / "page.html").read_bytes()
    whole = httpx.get(f"{api.url}/static/page.html")
    assert whole.content.startswith(page)
    assert int(whole.headers["Content-Length"]) == len(whole.content) > len(page)
    head = httpx.head(f"{api.url}/static/page.html")
    assert (head.content, head.headers["Content-Length"]) == (b"", whole.headers["Content-Length"])
    part = httpx.get(f"{api.url}/static/page.html", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, page[:10])
    # With these a browser would get a 304, and reload again and again with the script of the old code.
    assert not whole.headers.keys() & {"etag", "last-modified"}
    style = httpx.get(f"{api.url}/static/page.css")
    same = httpx.get(f"{api.url}/static/page.css", headers={"If-None-Match": style.headers["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    missing = httpx.get(f"{api.url}/missing")
    assert missing.status_code == 404
    assert missing.text.startswith("<p>There is no such page.</p><script")


def test_production_has_neither_the_script_nor_its_routes(
    redis_url: str, tmp_path: Path, sqlite_template: Path
) -> None:
    environment = production_environment(redis_url, f"sqlite:///{sqlite_template}")
    with running_api(tmp_path, environment, 1) as api:
        assert "_follow" not in api.ask("/docs").text
        assert "_follow" not in api.ask("/").text
        assert [api.ask(path).status_code for path in ("/_follow", "/_follow.js")] == [404, 404]
