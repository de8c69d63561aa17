"""`make prod` again and again on one machine: one stack, on which the tests build in this order."""

import os
import re
import signal
import tarfile
from collections.abc import Iterator

import httpx2
import pytest

from tests.conftest import wait_until
from tests.template.docker import engine
from tests.template.docker.clients import SLOW_JOB, Clients
from tests.template.docker.engine import docker
from tests.template.running import Running, edit

TIMES = int(os.environ.get("DEPLOYMENTS", "20"))
OVERRIDE = """
services:
  fastapi:
    healthcheck: {interval: 2s, start_period: 60s, retries: 2}
"""
RESULT = r"v\d+ \(\w{6}\): live in \d+ s, 0 of [\d,]+ requests failed, longest wait [\d,]+ ms"


@pytest.fixture(scope="module")
def stack(clone: Running) -> Iterator[Running]:
    """Production, with two containers of each and a job that takes as long as one wants."""
    slow = clone.folder / "src" / "slow"
    slow.mkdir()
    (slow / "__init__.py").touch()
    (slow / "jobs.py").write_text(SLOW_JOB)
    clone.environment |= {"API_REPLICAS": "2", "WORKER_REPLICAS": "2", "WEB_CONCURRENCY": "2"}
    clone.environment["SALES_MAX_WAITING_MB"] = "100000"
    (clone.folder / "docker-compose.override.yml").write_text(OVERRIDE)
    clone.make("prod")
    yield clone
    docker("image", "rm", "--force", f"{clone.environment['APP_IMAGE']}:previous", may_fail=True)


def next_version(stack: Running) -> None:
    edit(stack.folder / "src" / "kit" / "log.py", "\n# newer\n")


def wait_until_tidy(stack: Running) -> None:
    """Nothing is left but what runs, and the image that ran before."""

    def is_tidy() -> bool:
        label = f"label=com.docker.compose.project={stack.project}"
        names = docker(
            "ps", "--all", "--filter", label, "--format", '{{.Label "com.docker.compose.service"}}'
        )
        expected = ["edge", *["fastapi"] * 2, "postgres", "redis", *["rqworker"] * 2, "secrets"]
        images = docker("image", "ls", "--quiet", "--filter", label).split()
        return sorted(names.split()) == expected and len({*images}) <= 2

    wait_until(is_tidy, 120, "only what runs")


@pytest.mark.timeout(1800)
def test_many_versions_in_a_row_fail_no_request_and_lose_no_job(stack: Running) -> None:
    own = ("--filter", f"label=com.docker.compose.project={stack.project}")
    networks = docker("network", "ls", "--quiet", *own)
    with Clients(stack) as clients:
        for number in range(TIMES):
            clients.start_slow_job(60 if number in (0, TIMES - 2) else 5)
            next_version(stack)
            assert re.search(RESULT, stack.make("prod"))
    stack.wait_for_code(workers=2)
    print(dict(clients.requests), f"longest wait {clients.longest * 1000:.0f} ms")  # noqa: T201
    wait_until_tidy(stack)
    assert docker("network", "ls", "--quiet", *own) == networks


def test_make_prod_without_a_change_replaces_nothing(stack: Running) -> None:
    before = engine.ids(stack)
    assert "runs already: nothing has changed" in stack.make("prod")
    assert engine.ids(stack) == before


def test_make_rollback_brings_back_the_version_before_and_then_the_newer(stack: Running) -> None:
    newest = stack.get("/version")["code"]
    next_version(stack)
    stack.make("prod")
    with Clients(stack):
        assert re.search(RESULT, stack.make("rollback"))
        assert stack.get("/version")["code"] == newest
        stack.make("rollback")
    stack.wait_for_code(workers=2)
    wait_until_tidy(stack)


NEVER_READY = """
def readiness_problems() -> list[str]:
    return ["never ready"]
"""
DIES = """
import os, threading
threading.Thread(target=lambda: (threading.Event().wait(12), os.kill(os.getpid(), 9)), daemon=True).start()
"""
ANSWERS_ERRORS = """
@router.get("/broken", include_in_schema=False)
def broken() -> None:
    raise RuntimeError("broken")
"""
BROKEN = {
    "does not start": ("queue/enqueue.py", "\nraise RuntimeError('broken')\n", "did not become healthy"),
    "is never healthy": ("readiness.py", NEVER_READY, "did not become healthy"),
    "is healthy and then dies": ("web/health.py", DIES, "It did not stay healthy"),
    "answers errors": ("web/health.py", ANSWERS_ERRORS, "requests with 5xx"),
}


@pytest.mark.parametrize(("file", "mistake", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_broken_version_is_taken_away_again_and_nobody_notices(
    stack: Running, file: str, mistake: str, reason: str
) -> None:
    code = stack.get("/version")["code"]
    path = stack.folder / "src" / "kit" / file
    before, seen = edit(path, mistake), len(stack.output())
    try:
        with Clients(stack, may_break=mistake == DIES):
            stack.environment["CANARY_SECONDS"] = "20"
            stack.start("prod")
            if mistake == ANSWERS_ERRORS:  # as its clients meet it
                stack.wait_for_line("gets the requests", 300, seen)
                for _ in range(5):
                    stack.request("GET", "/broken")
            assert stack.foreground
            assert stack.foreground.wait(300) != 0
    finally:
        path.write_text(before, "utf-8")
        stack.environment["CANARY_SECONDS"] = "2"
    output = stack.output()[seen:]
    assert reason in output
    assert "was taken away again" in output
    assert stack.get("/version")["code"] == code
    wait_until_tidy(stack)


def test_a_migration_that_fails_replaces_nothing(stack: Running) -> None:
    before = engine.ids(stack)
    migration = stack.folder / "migrations" / "versions" / "ffffffffffff_fails.py"
    (newest,) = re.findall(r"\b([0-9a-f]{12}) \(head\)", stack.inside("fastapi", "alembic", "heads"))
    migration.write_text(
        f'"""Fails."""\n\nrevision = "ffffffffffff"\ndown_revision = "{newest}"\n\n\n'
        "def upgrade() -> None:\n    raise RuntimeError('fails')\n"
    )
    with Clients(stack):
        output = stack.make_refused("prod")
    migration.unlink()
    assert "The migration failed" in output
    assert engine.ids(stack) == before


@pytest.mark.parametrize("line", ["Built", "Will assume transactional DDL", "Starting", "gets the requests"])
def test_a_deployment_that_is_cut_off_leaves_a_stack_that_serves(stack: Running, line: str) -> None:
    next_version(stack)
    with Clients(stack):
        stack.start("prod", ready=line)
        assert stack.foreground
        engine.kill_group(stack.foreground.pid, signal.SIGKILL)
        stack.foreground.wait()
        stack.foreground = None
        assert re.search(f"{RESULT}|runs already", stack.make("prod"))
        stack.wait_for_code(workers=2)
    wait_until_tidy(stack)


def test_a_second_deployment_at_the_same_time_says_so(stack: Running) -> None:
    next_version(stack)
    stack.start("prod", ready="Built")
    assert "Another deployment is under way here" in stack.make_refused("prod")
    assert stack.foreground
    assert stack.foreground.wait(300) == 0


LOCKS = """
import time
from sqlalchemy import text
from src.kit.database.engine import get_engine
with get_engine().connect() as connection:
    connection.execute(text("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE"))
    time.sleep(20)
"""


def test_proof_that_is_strict_goes_back_at_the_first_failed_request(stack: Running) -> None:
    """The migration takes a lock that makes the API wait for the database and answer 503."""
    code = stack.get("/version")["code"]
    path = stack.folder / "migrations" / "env.py"
    before = edit(path, LOCKS)
    try:
        output = stack.make_refused("prod", PROVE="strict")
    finally:
        path.write_text(before, "utf-8")
    assert "PROVE=strict" in output
    assert stack.get("/version")["code"] == code


def test_the_edge_alone_says_which_client_it_serves(stack: Running) -> None:
    url = f"http://127.0.0.1:{stack.port}/health/live"
    spoofed = {"X-Forwarded-For": "192.0.2.1"}
    httpx2.get(url, headers=spoofed | {"X-Request-ID": "from-outside"})
    program = (
        "from urllib.request import *; urlopen(Request('http://fastapi:8000/health/live', headers="
        "{'X-Forwarded-For': '192.0.2.1', 'X-Request-ID': 'from-a-worker'})).read()"
    )
    stack.inside("rqworker", "python", "-c", program)

    def clients() -> dict[str, str]:
        log = stack.compose("logs", "--no-log-prefix", "fastapi")
        found = re.findall(r'"request_id": "(from-[a-z-]+)".*"client": "([\d.]+)"', log)
        return dict(found)

    wait_until(lambda: len(clients()) == 2, what="the lines of both requests")
    gateway = docker(
        "network", "inspect", f"{stack.project}_default", "--format", "{{(index .IPAM.Config 0).Gateway}}"
    )
    assert clients()["from-outside"] == gateway  # as Docker passes on what comes from this machine
    assert clients()["from-a-worker"] not in (gateway, "192.0.2.1")


def test_the_edge_compresses_and_passes_streams_on_at_once(stack: Running) -> None:
    url, key = f"http://127.0.0.1:{stack.port}", stack.make("-s api-key").strip()
    headers = {"X-API-Key": key, "Accept-Encoding": "gzip"}
    assert httpx2.get(f"{url}/docs", headers=headers).headers["Content-Encoding"] == "gzip"
    with httpx2.stream("GET", f"{url}/queue/events", headers=headers, timeout=10) as stream:
        assert "event: main" in next(stream.iter_text())
    file = ("large.csv", b"x" * 60 * 1024 * 1024)
    too_large = httpx2.post(f"{url}/api/v1/sales/imports", headers=headers, files={"file": file}, timeout=60)
    assert too_large.status_code == 413
    assert too_large.headers["Content-Type"] == "application/problem+json"


def test_with_a_site_the_edge_serves_https_and_leads_there(stack: Running) -> None:
    stack.make("prod", SITE="localhost")
    assert httpx2.get("http://localhost/health/live").headers["Location"] == "https://localhost/health/live"
    answer = httpx2.get("https://localhost/health/ready", verify=False)
    assert (answer.status_code, answer.headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
    assert "h3" in answer.headers["Alt-Svc"]
    stack.make("backup", SITE="localhost")
    (saved,) = (stack.folder / "backups").glob("*.edge.tar")
    with tarfile.open(saved) as archive:
        assert any(name.endswith("localhost.crt") for name in archive.getnames())
    refused = stack.make_refused("prod", SITE="https://shop.example.com")
    assert "is not the name of a host" in refused
