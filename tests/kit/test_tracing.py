"""One trace from a request to the end of its job; errors in Sentry; and neither without its setting."""

import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2 as httpx
import pytest

from tests.conftest import ROOT, wait_until
from tests.kit.production_process import GUNICORN, RELOADING, Api, started
from tests.kit.tracing_receiver import Receiver, Span, extra, receiver
from tests.kit.worker_process import JOBS, Workers

__all__ = ["extra", "receiver"]

FAIL = """
def fail():
    raise LookupError("no such row")
"""
MAIN = """
from fastapi import APIRouter
from src.kit.queue.enqueue import enqueue
from src.kit.web.app import create_app
from src.probe.jobs import note_failure

router = APIRouter()

@router.post("/jobs/{name}")
def start(name: str) -> None:
    enqueue(f"src.probe.jobs.{name}", job_id=f"probe-{name}", on_failure=note_failure)

@router.post("/broken")
def broken() -> None:
    raise KeyError("a broken route")

app = create_app(title="Probe", routers=[router])
"""
JOB = "src.probe.jobs.fail"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@contextmanager
def running(workers: Workers, command: list[str], **settings: str) -> Iterator[Api]:
    """An API with the routes above, and a worker."""
    workers.save("jobs.py", JOBS + FAIL)
    (workers.folder / "src" / "main.py").write_text(MAIN)
    for name in ("gunicorn.conf.py", "gunicorn.dev.conf.py"):
        (workers.folder / name).write_text((ROOT / name).read_text())
    workers.environment |= settings | {"WEB_CONCURRENCY": "1", "JOB_RETRIES": "2"}
    workers.start()
    with started(Api(workers.folder, command, workers.environment, workers.folder)) as api:
        yield api


@pytest.mark.slow  # it installs packages
@pytest.mark.parametrize("command", [GUNICORN, RELOADING], ids=["gunicorn", "reload"])
def test_one_trace_leads_from_the_request_to_the_last_of_three_tries(
    workers: Workers, receiver: Receiver, extra: dict[str, str], command: list[str]
) -> None:
    settings = extra | {ENDPOINT: f"http://{receiver.address}", "OTEL_BSP_SCHEDULE_DELAY": "100"}

    def spans(name: str) -> list[Span]:
        return [span for span in receiver.spans() if span.name == name]

    with running(workers, command, **settings) as api:
        assert httpx.get(f"{api.url}/health/live").status_code == 200
        assert httpx.post(f"{api.url}/jobs/fail").status_code == 200
        wait_until(lambda: len(spans(JOB)) == 3, 60, f"three tries: {receiver.spans()} {workers.log}")
        wait_until(lambda: workers.queue.failed_job_registry.count == 1, what=workers.log)
        wait_until(lambda: spans("POST /jobs/{name}"), what="the request's span")
    ((request,), (enqueued,), tries) = map(spans, ("POST /jobs/{name}", f"enqueue {JOB}", JOB))
    assert {span.trace for span in receiver.spans()} == {request.trace}, "the health check is not traced"
    assert [(span.parent, span.is_error) for span in tries] == [(enqueued.id, True)] * 3
    assert len({span.id for span in tries}) == 3
    assert not request.is_error
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    assert {span.service for span in receiver.spans()} == {name}


@pytest.mark.slow
def test_a_collector_that_does_not_answer_neither_fails_a_job_nor_delays_it_by_more_than_a_second(
    workers: Workers, extra: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        job = workers.queue.enqueue("src.probe.jobs.note", 1, 0.5, job_timeout=1)
        workers.start(**extra | {ENDPOINT: endpoint})
        wait_until(lambda: job.get_status() in ("finished", "failed"), what=workers.log)
        job.refresh()  # type: ignore[no-untyped-call]
    assert job.get_status() == "finished", workers.log
    assert job.ended_at
    assert job.started_at
    assert 1.4 < (job.ended_at - job.started_at).total_seconds() < 2.5
    assert len(workers.begun) == 1


@pytest.mark.slow
def test_sentry_gets_the_error_of_a_request_and_of_a_job_once_each(
    workers: Workers, receiver: Receiver, extra: dict[str, str]
) -> None:
    with running(workers, GUNICORN, **extra, SENTRY_DSN=f"http://key@{receiver.address}/1") as api:
        secrets = {"X-API-Key": "zq-private", "Cookie": "zq-private"}
        broken = httpx.post(f"{api.url}/broken?key=zq-private", content=b"zq-private", headers=secrets)
        assert broken.status_code == 500
        assert httpx.post(f"{api.url}/jobs/fail").status_code == 200
        wait_until(lambda: len(receiver.errors()) == 2, 60, f"two errors: {receiver.errors()} {workers.log}")
        wait_until(lambda: workers.queue.failed_job_registry.count == 1, what=workers.log)
    assert sorted(receiver.errors()) == ["KeyError: 'a broken route'", "LookupError: no such row"]
    assert not [body for _, body in receiver.received if b"zq-private" in body]


def test_without_the_settings_neither_the_api_nor_the_worker_loads_any_of_it(
    environment: dict[str, str],
) -> None:
    # OpenTelemetry's interface is a dependency of FastAPI, which always loads it.
    code = (
        "import sys, src.main; from src.kit.queue import startup; startup.load_code(); "
        "src.kit.tracing.start();"
        "names = ('sentry', 'requests', 'google.protobuf', 'opentelemetry.sdk', 'opentelemetry.exporter');"
        "print([name for name in sys.modules if name.startswith(names)])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("setting", "package"), [(ENDPOINT, "opentelemetry.sdk"), ("SENTRY_DSN", "sentry_sdk")]
)
def test_a_setting_whose_packages_are_missing_is_refused_with_the_fix(
    environment: dict[str, str], setting: str, package: str
) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from src import rq_worker; rq_worker.main()"
    environment |= {setting: "http://key@localhost/1"}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert (
        f"- {setting} is set, but its packages are not installed: run `pip install '.[tracing]'`"
        in result.stderr
    )
    assert "Traceback" not in result.stderr
