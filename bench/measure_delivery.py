"""Delivery: from a clone to the first answer, and from a change to a replaced production stack."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from bench.processes import last_line
from bench.venvs import UnavailableError
from tools import runtime
from tools.ports import free_port
from tools.project import ROOT

LONGEST = 600.0
"""Seconds that any of this may take."""


@dataclass
class DeliveryResult:
    """How long each step took, in order."""

    name: str
    steps: list[tuple[str, float]] = field(default_factory=list)
    """What, and its seconds."""
    problem: str = ""


def development(result: DeliveryResult, directory: Path) -> None:
    """`make dev` in a fresh clone, natively, until the API answers; the packages come from pip's cache."""
    port, began = free_port(), time.monotonic()
    tree = _clone(directory / "dev-clone")
    log = directory / "dev.log"
    with _make(tree, log, "dev", RUNTIME="native", API_PORT=str(port)) as process:
        _wait(lambda: (tree / "data" / "app.db").exists(), process, log)
        installed = time.monotonic()
        _wait(lambda: bool(_ask(port, "/health/live", tree)), process, log)
    result.steps = [("packages installed", installed - began), ("first answer", time.monotonic() - installed)]


def production(result: DeliveryResult, directory: Path) -> None:
    """`make prod` on Docker, then a change of the code and `make prod` again, until the new code answers.

    Raises:
        UnavailableError: Docker is not there.
    """
    if problem := runtime.docker_problem():
        raise UnavailableError(problem)
    port, name = free_port(), f"bench-{os.getpid()}"
    tree = _clone(directory / "prod-clone")
    variables = {"RUNTIME": "docker", "API_PORT": str(port), "COMPOSE_PROJECT_NAME": name, "APP_IMAGE": name}
    compose = ["docker", "compose", "-p", name, "-f", "docker-compose.yml", "-f", "docker-compose.prod.yml"]
    environment = os.environ | variables
    try:
        _run(["make", "prod"], tree, environment)
        with (tree / "src" / "kit" / "log.py").open("a") as file:
            file.write("# a change\n")
        old, began = _code(port, tree), time.monotonic()
        _run([*compose, "build", "--quiet"], tree, environment)
        built = time.monotonic()
        _run(["make", "prod"], tree, environment)
        if _code(port, tree) in ("", old):
            raise UnavailableError("the new code does not answer")
        result.steps = [("image built", built - began), ("stack replaced", time.monotonic() - built)]
    finally:
        for command in ([*compose, "down", "--volumes"], ["docker", "image", "rm", name]):
            subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)


def _clone(target: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True, capture_output=True)
    return target


def _run(command: list[str], tree: Path, environment: dict[str, str]) -> None:
    run = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        lines = (run.stderr or run.stdout).strip().splitlines() or ["it says nothing"]
        raise UnavailableError(f"`{' '.join(command[:3])}` failed: {lines[-1]}")


@contextlib.contextmanager
def _make(tree: Path, log: Path, target: str, **variables: str) -> Iterator[psutil.Process]:
    """Run make in the foreground until the block ends; it stops what it has started by itself."""
    kept = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    with log.open("wb") as output:
        process = psutil.Popen(
            ["make", target], cwd=tree, env=kept | variables, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _wait(condition: Callable[[], bool], process: psutil.Process, log: Path) -> None:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if condition():
            return
        time.sleep(0.05)
    raise UnavailableError(f"does not answer: {last_line(log)}")


def _code(port: int, tree: Path) -> str:
    """The fingerprint of the code that answers, or nothing."""
    answer = _ask(port, "/version", tree)
    return str(json.loads(answer)["code"]) if answer else ""


def _ask(port: int, path: str, tree: Path) -> str:
    """The answer, or nothing; with the clone's own key where it has one."""
    keys = tree / "secrets" / "api_keys"
    headers = {"X-API-Key": keys.read_text().split()[0]} if keys.is_file() else {}
    with (
        contextlib.suppress(OSError),
        urlopen(Request(f"http://127.0.0.1:{port}{path}", headers=headers), timeout=5) as answer,
    ):
        return str(answer.read().decode())
    return ""
