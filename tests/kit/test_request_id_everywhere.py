"""A request's id is in its answer, in its log lines, and in the log lines of its job."""

import logging
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from rq import Callback, Retry

from src.kit import request_id
from src.kit.queue import enqueue as job_queue
from tests.conftest import ROOT, wait_until
from tests.kit.production_process import parse_lines, production_environment, running_api
from tests.kit.worker_process import Workers, exhausted, stop


@pytest.fixture
def production(environment: dict[str, str]) -> dict[str, str]:
    return production_environment(environment["REDIS_URL"], environment["DATABASE_URL"])


def production_worker(workers: Workers) -> None:
    """Start a worker as in production."""
    url = workers.environment["REDIS_URL"]
    workers.start(**production_environment(url, workers.environment["DATABASE_URL"]))


def lines_of(workers: Workers, request: str) -> list[dict[str, Any]]:
    """What workers have logged for a request."""
    return [line for line in parse_lines(workers.log) if line.get("request_id") == request]


def test_every_answer_has_the_id_and_so_have_every_error_and_its_log_line(stack: dict[str, str]) -> None:
    from src.main import app

    @app.get("/test/crash")
    def crash() -> None:
        raise RuntimeError("a crash")

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append((record.name, request_id.current()))

    logged: list[tuple[str, str | None]] = []
    handler, logger = Note(), logging.getLogger("src.kit.web.problems")
    logger.addHandler(handler)
    client = TestClient(app, raise_server_exceptions=False)
    try:
        for method, path, status in [
            ("GET", "/health/live", 200),
            ("GET", "/nowhere", 404),
            ("POST", "/health/live", 405),
            ("GET", "/test/crash", 500),
        ]:
            response = client.request(method, path, headers={"X-Request-ID": f"id-{status}"})
            assert response.status_code == status
            assert response.headers.get_list("X-Request-ID") == [f"id-{status}"]
            if status >= 400:
                assert response.json()["request_id"] == f"id-{status}"
    finally:
        logger.removeHandler(handler)
        app.router.routes.pop()
    assert logged == [("src.kit.web.problems", "id-500")]


def test_a_client_that_sends_no_id_gets_a_new_one_each_time(stack: dict[str, str]) -> None:
    from src.main import app

    client = TestClient(app)
    ids = {client.get("/health/live").headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3


def test_in_production_each_request_has_a_line_with_its_id_and_no_secret(
    production: dict[str, str], tmp_path: Path
) -> None:
    with running_api(tmp_path, production, 1) as api:
        secret = {"X-Request-ID": "first", "Authorization": "Bearer topsecret"}
        api.ask("/health/live?api_key=topsecret", **secret)
        api.ask("/nowhere", **{"X-Request-ID": "second"})
        api.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "Hang up" in api.output.read_text(), what="the reload")
        # The line of a request may be written after its answer has been read.
        wait_until(lambda: api.output.read_text().count('"src.access"') == 2, what="both access lines")
        first, second = [line for line in api.lines() if line["logger"] == "src.access"]
        assert first["request_id"] == "first"
        assert (first["method"], first["path"], first["status"]) == ("GET", "/health/live", 200)
        assert (second["request_id"], second["status"]) == ("second", 404)
        assert 0 < first["duration"] < 10
        assert "topsecret" not in api.output.read_text()
        loggers = {line["logger"] for line in api.lines()}
        assert loggers >= {"gunicorn.error", "uvicorn.error"}
        assert any(logger.startswith("src.") for logger in loggers - {"src.access"})


def test_in_production_gunicorn_logs_as_json_why_it_cannot_start(production: dict[str, str]) -> None:
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "src.nowhere:app"]
    process = subprocess.run(
        [*command, "--bind", "127.0.0.1:0"],
        cwd=ROOT, env=production, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    assert process.returncode
    [line] = parse_lines(process.stdout)
    assert "No module named 'src.nowhere'" in line["traceback"]


def test_a_job_is_enqueued_with_the_id_of_its_request_and_a_sweep_with_one_of_its_own(
    stack: dict[str, str],
) -> None:
    request_id.use("request-1")
    assert job_queue.enqueue(print, job_id="1", on_failure=print).meta["request_id"] == "request-1"
    request_id.use(None)
    swept = []

    @job_queue.sweep
    def enqueue_again() -> None:
        job = job_queue.enqueue(print, job_id="2", on_failure=print)
        swept.append((request_id.current(), job.meta["request_id"]))

    try:
        job_queue.run_sweeps()
    finally:
        job_queue._sweeps.remove(enqueue_again)
    [(in_its_lines, in_its_job)] = swept
    assert in_its_lines == in_its_job != "request-1"
    assert request_id.current() is None


def test_the_id_is_in_every_line_about_a_job(workers: Workers, subtests: pytest.Subtests) -> None:
    say, die = "src.probe.jobs.say", "src.probe.jobs.die"
    options: dict[str, Any] = {"retry": Retry(max=2), "on_failure": Callback("src.probe.jobs.note_failure")}
    workers.queue.enqueue(say, "hello", meta={"request_id": "request-good"}, **options)
    workers.queue.enqueue(say, meta={"request_id": "request-bad"}, **options)
    without_request = workers.queue.enqueue(say, "hello")
    workers.queue.enqueue(die, meta={"request_id": "request-die"})
    production_worker(workers)
    wait_until(lambda: exhausted(workers) and workers.queue.failed_job_registry.count == 2, what=workers.log)
    stop(workers.processes[0])

    with subtests.test("until its success"):
        good = lines_of(workers, "request-good")
        assert [line["message"] for line in good if line["logger"] == "src.probe"] == ["hello"]
        assert any("Job OK" in line["message"] for line in good)
    with subtests.test("through retries and the failure callback"):
        bad = lines_of(workers, "request-bad")
        assert [line["message"] for line in bad].count("failure callback") == 3
        assert sum("exception raised while executing" in line["message"] for line in bad) == 3
    with subtests.test("when its process dies"):
        died = lines_of(workers, "request-die")
        assert any("terminated unexpectedly" in line["message"] for line in died)
    with subtests.test("without a request it is the job's own"):
        assert "hello" in [line["message"] for line in lines_of(workers, without_request.id)]
    with subtests.test("and no line about a job is without one"):
        ids = {line.get("request_id") for line in parse_lines(workers.log) if "src.probe" in str(line)}
        assert ids == {"request-good", "request-bad", "request-die", without_request.id}
    with subtests.test("but not in lines about the worker"):
        [last] = [line for line in parse_lines(workers.log) if "stopping, after" in line["message"]]
        assert "request_id" not in last
