"""`/docs` in a real browser, in production: it works without the internet, and nothing else can run in it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.kit.chromium import browser
from tests.kit.production_process import KEY, Api, production_environment, running_api

__all__ = ["browser"]


@pytest.fixture(scope="module")
def api(redis_server: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("api")
    shutil.copy(sqlite_template, folder / "app.db")
    environment = production_environment(redis_server, f"sqlite:///{folder / 'app.db'}")
    with running_api(folder, environment, 1) as api:
        yield api


def test_no_cache_keeps_an_answer_and_a_browser_asks_before_it_uses_a_file_again(api: Api) -> None:
    for path in ("/version", "/openapi.json", "/docs", "/", "/queue", "/metrics", "/nowhere"):
        assert api.ask(path).headers.get_list("Cache-Control") == ["no-store"]
    with httpx.stream("GET", f"{api.url}/queue/events", headers={"X-API-Key": KEY}) as stream:
        assert stream.headers.get_list("Cache-Control") == ["no-store"]
    file = api.ask("/docs/files/swagger-ui.css")
    again = api.ask("/docs/files/swagger-ui.css", **{"If-None-Match": file.headers["ETag"]})
    assert (file.status_code, again.status_code) == (200, 304)
    assert file.headers["Cache-Control"] == again.headers["Cache-Control"] == "private, no-cache"


def test_an_operation_is_tried_and_no_request_leaves_the_host(browser: Browser, api: Api) -> None:
    context = browser.new_context(http_credentials={"username": "", "password": KEY})
    page = context.new_page()
    problems: list[str] = []
    asked: set[str] = set()
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(f"{api.url}/docs")
    page.get_by_role("button", name="GET /version Version").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute", exact=True).click()
    expect(page.locator(".live-responses-table")).to_contain_text('"environment": "production"')
    assert asked == {urlsplit(api.url).netloc}
    assert problems == []
    context.close()


def test_its_policy_is_that_of_all_pages_and_new_in_each_answer(api: Api) -> None:
    first, second = api.ask("/docs"), api.ask("/docs")
    for answer in (first, second):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'nonce-" in policy
        assert "unsafe" not in policy
        assert answer.text.count("<script nonce=") == answer.text.count("<script")
    assert first.headers["Content-Security-Policy"] != second.headers["Content-Security-Policy"]


def test_redoc_which_would_need_a_cdn_is_not_offered(api: Api) -> None:
    assert api.ask("/redoc").status_code == 404
    assert "://" not in api.ask("/docs").text
