"""A browser that holds the key: over plain HTTP it doesn't say which site's page has caused a request."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from src.kit.queue.enqueue import get_queue
from tests.kit.chromium import running_chromium
from tests.kit.production_process import KEY, production_environment, running_api
from tests.kit.services import settings_read_again

FOREIGN = '<form method="post" action="{}"></form><script>document.forms[0].submit()</script>'


@pytest.mark.slow  # a browser
def test_only_pages_of_the_api_itself_can_use_the_password_of_the_browser(
    environment: dict[str, str], tmp_path: Path
) -> None:
    production = production_environment(environment["REDIS_URL"], environment["DATABASE_URL"])
    with (
        settings_read_again(REDIS_URL=environment["REDIS_URL"]),
        running_api(tmp_path, production | {"ALLOWED_HOSTS": "app.test"}, 1) as api,
        running_chromium("--host-resolver-rules=MAP app.test 127.0.0.1") as browser,
    ):
        if browser is None:
            pytest.skip("no Chromium: install it (apt install chromium)")
        job, page, site = get_queue().enqueue("src.a.b"), browser.new_page(), f"app.test:{api.port}"
        action = f"http://{site}/queue/jobs/{job.id}/cancel"
        foreign = FOREIGN.format(action)
        page.route("http://evil.test/", lambda it: it.fulfill(body=foreign, content_type="text/html"))
        page.goto(f"http://me:{KEY}@{site}/queue")
        with page.expect_response(action) as response:
            page.goto("http://evil.test/")
        assert "sec-fetch-site" not in response.value.request.all_headers()
        assert (response.value.status, job.get_status()) == (403, "queued")

        page.goto(f"http://{site}/queue")  # the browser still has the password
        page.get_by_role("button", name=f"Cancel {job.id}").click()
        expect(page.get_by_role("region", name="Canceled").locator(f"[data-job='{job.id}']")).to_be_visible()
