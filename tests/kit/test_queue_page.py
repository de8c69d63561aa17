"""`/queue`: what it shows of real jobs, what its buttons do, and that nothing in Redis breaks it."""

import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, Locator, Page, expect
from redis import Redis
from rq import Queue
from rq.job import Job, Retry
from rq.serializers import PickleSerializer

from src import progress_manager
from src.kit.queue.enqueue import get_queue
from src.kit.queue.every import Times
from tests.conftest import wait_until
from tests.kit.chromium import CONTRAST, LIGHT_AND_DARK, browser, without_problems
from tests.kit.production_process import Api, started
from tests.kit.redis_server import running_redis
from tests.kit.services import settings_read_again
from tests.kit.worker_process import JOBS, Workers

__all__ = ["browser"]

KEY = "c0ffee" * 8
SERVER = [sys.executable, "-m", "uvicorn", "src.main:app", "--port", "PORT"]
MORE_JOBS = """
def need(key):
    \"\"\"Fail unless Redis has this key.\"\"\"
    from src.progress_manager import report
    report(get_current_job().id, 3, 4, "looking")
    if not get_redis().exists(key):
        raise LookupError(f"<b>no {key}</b>")
"""


@pytest.fixture
def client(environment: dict[str, str]) -> Iterator[TestClient]:
    """A client of the application on an empty Redis, which no worker serves."""
    urls = {name: environment[name] for name in ("REDIS_URL", "DATABASE_URL")}
    with settings_read_again(**urls, ALLOWED_HOSTS="testserver"):
        from src.main import app

        with TestClient(app, follow_redirects=False) as client:
            yield client


def test_a_job_shows_its_arguments_progress_tries_and_time(client: TestClient) -> None:
    job = get_queue().enqueue("src.a.b", "<script>", number=7, retry=Retry(max=2))
    progress_manager.report(job.id, 30, 40, "counting")
    later = get_queue().enqueue_in(timedelta(hours=1), "src.a.later", "x" * 9000)
    page = client.get("/queue").text
    assert "src.a.b(&#39;&lt;script&gt;&#39;, number=7)" in page
    assert "<script>" not in page
    assert '<progress max="40" value="30"' in page
    assert "retries left: 2" in page
    assert "counting, 30 of 40" in page
    due = get_queue().scheduled_job_registry.get_scheduled_time(later)
    assert f"{due:%Y-%m-%d %H:%M:%S} UTC" in page
    assert "x" * 3000 in page
    assert "x" * 4001 not in page


def test_schedules_show_when_they_run_next(client: TestClient) -> None:
    times = Times("src.a.cleanup", "0 3 * * *", "low", 1_800_000_000, None)
    get_queue().connection.hset("schedules", times.name, json.dumps(times._asdict()))
    page = client.get("/queue").text
    for text in ("src.a.cleanup", "0 3 * * * <small>low", "next 2027-01-15 08:00:00 UTC", "last never"):
        assert text in page


def test_of_many_jobs_the_next_fifty_show_and_how_many_there_are(client: TestClient) -> None:
    jobs = [Queue.prepare_data("src.a.b", [number], job_id=f"job-{number}") for number in range(120)]
    get_queue().enqueue_many(jobs)
    page = client.get("/queue").text
    assert "120 queued" in page
    assert page.count("data-job=") == 50
    assert 'data-job="job-0"' in page


def test_jobs_that_cannot_be_read_are_shown_and_break_nothing(client: TestClient) -> None:
    queue = get_queue()
    redis = queue.connection
    Queue("default", redis, serializer=PickleSerializer).enqueue("src.a.pickled", job_id="pickled")
    for name in ("no-hash", "no-json", "no-status", "no-text", "expired"):
        queue.enqueue("src.a.b", job_id=name)
    redis.delete(Job.key_for("no-hash"), Job.key_for("expired"))
    redis.set(Job.key_for("no-hash"), "a string")
    redis.hset(Job.key_for("no-json"), "data", b"[1")
    redis.hset(Job.key_for("no-status"), "status", "?")
    redis.hset(Job.key_for("no-text"), "origin", b"\xff")
    redis.rpush(queue.key, "not/an id")
    queue.enqueue("src.a.good", job_id="good")
    answer = client.get("/queue")
    assert answer.status_code == 200
    assert answer.text.count("be read:") == 7
    assert "src.a.good()" in answer.text
    for job_id in ("no-hash", "no-status", "no-text", "expired"):
        assert client.post(f"/queue/jobs/{job_id}/cancel").status_code == 404


def test_what_cannot_be_done_is_a_problem_that_says_so(client: TestClient) -> None:
    job = get_queue().enqueue("src.a.b")
    answers = {
        404: client.post("/queue/jobs/nowhere/requeue"),
        409: client.post(f"/queue/jobs/{job.id}/requeue"),
        422: client.post(f"/queue/jobs/{job.id}/delete"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert "is queued" in answers[409].json()["detail"]
    assert client.post(f"/queue/jobs/{job.id}/cancel").headers["Location"] == "/queue"
    assert client.post(f"/queue/jobs/{job.id}/cancel").status_code == 409
    assert client.get("/openapi.json").text.count("/queue") == 0


def test_the_page_and_its_buttons_need_the_key(client: TestClient) -> None:
    job = get_queue().enqueue("src.a.b")
    with settings_read_again(API_KEYS=KEY):
        for path in ("/queue", "/queue/events"):
            assert client.get(path).status_code == 401
        cancel, foreign = f"/queue/jobs/{job.id}/cancel", {"Sec-Fetch-Site": "cross-site"}
        assert client.post(cancel).status_code == 401
        assert client.post(cancel, auth=("", KEY), headers=foreign).status_code == 403
        assert job.get_status() == "queued"
        assert client.post(cancel, auth=("", KEY), headers={"Origin": "http://testserver"}).status_code == 303
        assert client.get("/queue", auth=("", KEY)).status_code == 200


def test_without_redis_the_page_says_so(client: TestClient, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as environment, settings_read_again():
        with running_redis(tmp_path) as url:
            environment.setenv("REDIS_URL", url)
            assert client.get("/queue").status_code == 200
        answer = client.get("/queue")
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.text


class Site(NamedTuple):
    """A running API and worker."""

    url: str
    workers: Workers


@pytest.fixture(scope="module")
def site(
    redis_server: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    Redis.from_url(redis_server).flushall()
    workers = Workers(tmp_path_factory.mktemp("site"), redis_server, sqlite_template)
    workers.save("jobs.py", JOBS + MORE_JOBS)
    workers.start()
    with started(Api(workers.folder, SERVER, workers.environment, workers.folder)) as api:
        yield Site(api.url, workers)
    workers.kill_all()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The page on a phone; it must not report any error."""
    page = browser.new_page(viewport={"width": 360, "height": 740})
    with without_problems(page):
        page.goto(f"{site.url}/queue")
        expect(page.locator("#live")).to_have_text("live")
        yield page
        page.close()


def _shown(page: Page, state: str, job: Job) -> Locator:
    """Where the page shows a job in a state."""
    return page.get_by_role("region", name=state).locator(f"[data-job='{job.id}']")


@pytest.mark.slow  # a browser
def test_a_failed_job_shows_its_traceback_and_runs_again_at_a_click(page: Page, site: Site) -> None:
    job = site.workers.enqueue("need", "water")
    failed = _shown(page, "Failed", job)
    expect(failed.locator("p.failed")).to_have_text("LookupError: <b>no water</b>")
    expect(failed).to_contain_text("looking, 3 of 4")
    failed.locator("summary").click()
    expect(failed.locator("pre")).to_contain_text("src/probe/jobs.py")
    site.workers.redis.set("water", 1)
    page.get_by_role("button", name=f"Requeue {job.id}").click()
    expect(_shown(page, "Finished", job)).to_contain_text("src.probe.jobs.need('water')")
    expect(failed).to_have_count(0)


@pytest.mark.slow  # a browser
def test_a_running_job_is_stopped_and_a_waiting_one_canceled(page: Page, site: Site) -> None:
    running, waiting = site.workers.enqueue("wait_for_word", 1), site.workers.enqueue("note", 2)
    site.workers.wait_for_begun(1)
    page.get_by_role("button", name=f"Cancel {waiting.id}").click()
    expect(_shown(page, "Canceled", waiting)).to_be_visible()
    expect(page.get_by_role("region", name="Workers")).to_contain_text("busy")
    page.get_by_role("button", name=f"Cancel {running.id}").click()
    expect(_shown(page, "Failed", running).locator(".badge")).to_have_text("stopped")
    expect(page.get_by_role("region", name="Workers")).to_contain_text("idle")
    assert site.workers.ended == []
    assert [begun.number for begun in site.workers.begun] == [1]


@pytest.mark.slow  # a browser
def test_all_failed_jobs_run_again_but_not_those_that_were_stopped(page: Page, site: Site) -> None:
    stopped = site.workers.enqueue("wait_for_word", 3)
    site.workers.wait_for_begun(3)
    httpx.post(f"{site.url}/queue/jobs/{stopped.id}/cancel")
    failed = [site.workers.enqueue("need", "bread") for _ in range(2)]
    wait_until(lambda: all(job.is_failed for job in failed), what="two failed jobs")
    site.workers.redis.set("bread", 1)
    page.reload()
    page.get_by_role("button", name="Requeue all failed").click()
    for job in failed:
        expect(_shown(page, "Finished", job)).to_be_visible()
    expect(_shown(page, "Failed", stopped).locator(".badge")).to_have_text("stopped")


@pytest.mark.slow  # a browser
def test_what_was_open_stays_open_while_the_page_changes(page: Page, site: Site) -> None:
    job = site.workers.enqueue("need", "gold")
    summary = _shown(page, "Failed", job).locator("summary")
    summary.click()
    another = site.workers.enqueue("note", 4)
    expect(_shown(page, "Finished", another)).to_be_visible()
    expect(_shown(page, "Failed", job).locator("pre")).to_be_visible()
    expect(summary).to_be_focused()


@pytest.mark.slow  # a browser
def test_it_fits_a_phone_and_has_contrast_in_light_and_dark(page: Page, site: Site) -> None:
    job = site.workers.enqueue("need", "a_long_name_" * 40)
    _shown(page, "Failed", job).locator("summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    for scheme in LIGHT_AND_DARK:
        page.emulate_media(color_scheme=scheme)
        texts = page.evaluate(CONTRAST)
        assert len(texts) > 10
        assert [text for text in texts if text["ratio"] < 4.5] == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"


@pytest.mark.slow  # a browser
def test_a_worker_shows_its_state_and_code(page: Page, site: Site) -> None:
    (registered,) = wait_until(site.workers.registered)
    row = page.get_by_role("region", name="Workers").get_by_role("row")
    expect(row).to_contain_text(registered["code"])
    expect(row).to_contain_text(f"code of {registered['loaded_at'][:10]}")
