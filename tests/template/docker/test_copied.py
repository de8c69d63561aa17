"""Each compose file alone in a repository with other names, as its first lines and docs/COPYING.md say."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml  # type: ignore[import-untyped]

from tests.conftest import ROOT, wait_until
from tests.kit.repository import replace
from tests.template.docker.engine import docker
from tests.template.running import run
from tools.ports import free_port
from tools.runtime import docker_problem

GUIDE = (ROOT / "docs" / "COPYING.md").read_text("utf-8")
SETTINGS = re.findall(r"```text\n([A-Z_]+=.*?)```", GUIDE, re.DOTALL)
"""What the guide puts into `.env`: for the base file, for that of development."""

DOCKERFILE = """
FROM python:3.14-slim
RUN --mount=type=cache,target=/root/.cache/pip pip install -q \\
    fastapi uvicorn gunicorn uvicorn-worker rq watchfiles
ENV PYTHONPATH=/app/backend PYTHONUNBUFFERED=1
WORKDIR /app
COPY backend backend/
"""
MAIN = """
from fastapi import FastAPI
from redis import Redis
from rq import Queue
from rq.job import Job

from shop import rq_settings, work

app = FastAPI()
redis = Redis.from_url(rq_settings.REDIS_URL)


@app.get("/double/{number}")
def double(number: int) -> str:
    return Queue(connection=redis).enqueue(work.double, number).id


@app.get("/result/{job}")
def result(job: str) -> int | None:
    return Job.fetch(job, connection=redis).return_value()
"""
WORK = """
def double(number):
    return 2 * number
"""
OPEN_SETTINGS = 'REDIS_URL = "redis://redis:6379/0"\n'
THEIRS = """
services:
  fastapi:
    build: .
    command: uvicorn shop.main:app --host 0.0.0.0 --port 8000
    ports: ["127.0.0.1:${API_PORT}:8000"]
    depends_on: [redis]
  rqworker:
    build: .
    command: COMMAND
    depends_on: [redis]
  redis:
    image: redis:8-alpine
    volumes: ["queue:/data"]
volumes:
  queue:
"""


class Foreign:
    """A repository of somebody else, and its stack."""

    def __init__(self, folder: Path) -> None:
        """Write the application; the compose files come later."""
        if problem := docker_problem():
            pytest.skip(problem)
        self.folder, self.files = folder, [folder / "docker-compose.yml"]
        self.port, self.project = free_port(), f"e2e-{secrets.token_hex(4)}"
        self.write("Dockerfile", DOCKERFILE)
        self.write("backend/shop/__init__.py", "")
        self.write("backend/shop/main.py", MAIN)
        self.write("backend/shop/work.py", WORK)
        self.write("backend/shop/rq_settings.py", OPEN_SETTINGS)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def add(self, form: str, *missing: str) -> None:
        """Copy a file of ours, and delete the services that are missing here."""
        path = self.folder / f"docker-compose.{form}.yml"
        content = yaml.compose((ROOT / path.name).read_text("utf-8"))  # with the tags of Compose
        (services,) = (value for key, value in content.value if key.value == "services")
        services.value = [pair for pair in services.value if pair[0].value not in missing]
        self.write(path.name, yaml.serialize(content))
        self.files.append(path)

    def compose(self, *arguments: str) -> str:
        names = [part for path in self.files for part in ("-f", path.name)]
        environment = {"COMPOSE_PROJECT_NAME": self.project, "API_PORT": str(self.port)}
        return run(self.folder, "docker", "compose", *names, *arguments, **environment)

    def get(self, path: str) -> Any:
        """The JSON that a path answers, None while there is no answer."""
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}{path}", timeout=10).json()
        except httpx2.TransportError:
            return None

    def result_of(self, number: int) -> int:
        """What a job that doubles the number returns."""
        job = wait_until(lambda: self.get(f"/double/{number}"), 60, "the API")
        found: int = wait_until(lambda: self.get(f"/result/{job}"), 60, "the job's result")
        return found


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Foreign]:
    """A repository with the package `shop` in `backend`, and no stack yet."""
    repository = Foreign(tmp_path)
    yield repository
    repository.compose("down", "--volumes", "--timeout", "2")
    for image in docker("image", "ls", "-q", "--filter", f"reference=*{repository.project}*").split():
        docker("image", "rm", "--force", image, may_fail=True)
    docker("image", "rm", "--force", f"sales-dashboard:{repository.project}", may_fail=True)


def test_the_guide_shows_what_the_first_lines_of_each_file_ask_for() -> None:
    for form, settings in zip(("", ".dev"), SETTINGS, strict=True):
        head = (ROOT / f"docker-compose{form}.yml").read_text("utf-8").split("\n\n", 1)[0]
        asked = re.findall(r"(?m)^#   ([A-Z_]+)=", head)
        assert asked == re.findall(r"(?m)^([A-Z_]+)=", settings)


def test_the_base_file_alone(foreign: Foreign) -> None:
    (settings,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    foreign.write("backend/shop/rq_settings.py", settings)
    foreign.write("docker-compose.yml", (ROOT / "docker-compose.yml").read_text("utf-8"))
    foreign.write(".env", SETTINGS[0])
    foreign.compose("up", "-d", "--wait", "--build")
    assert foreign.result_of(4) == 8


def test_the_file_of_development_alone(foreign: Foreign) -> None:
    foreign.write(
        "docker-compose.yml",
        THEIRS.replace("COMMAND", "watchfiles 'rq worker -c shop.rq_settings' backend"),
    )
    foreign.add("dev", "migrate")
    foreign.write(".env", SETTINGS[1])
    foreign.compose("up", "-d", "--wait", "--build")
    assert foreign.result_of(4) == 8
    replace(foreign.folder / "backend" / "shop" / "work.py", WORK.replace("2 *", "3 *"))
    wait_until(lambda: foreign.result_of(4) == 12, 60, "the worker's new code")


def test_the_file_of_production_alone(foreign: Foreign) -> None:
    foreign.write("docker-compose.yml", THEIRS.replace("COMMAND", "rq worker -c shop.rq_settings"))
    foreign.add("prod", "migrate", "postgres")
    foreign.compose("up", "-d", "--wait", "--build")
    assert foreign.result_of(4) == 8
    states = [json.loads(line) for line in foreign.compose("ps", "--format", "json").splitlines()]
    assert len([state for state in states if state["Service"] == "rqworker"]) == 3
