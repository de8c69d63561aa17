"""The edge, and deployments on one machine: what they cost the clients of a stack on Docker."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure_servers import CONNECTIONS
from bench.venvs import UnavailableError
from tools import runtime
from tools.docker import listing
from tools.ports import free_port
from tools.project import ROOT

ROUTES = {"`/health/live`": "/health/live", "`/health/ready`": "/health/ready"}
"""The first does nothing but answer, the second asks Redis and the database."""

# In the clone, whose secrets it needs: asks all the time while a command runs.
_PROBE = """
import json, subprocess, sys
from tools.probe import Probe
probe = Probe(int(sys.argv[1]))
probe.start()
done = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL)
probe.stop()
print(json.dumps([done.returncode, probe.requests, probe.failed, probe.longest]))
"""
# What docker-rollout does: https://github.com/wowu/docker-rollout
_ROLLOUT = """
old=$(docker compose ps --quiet fastapi)
docker compose up --detach --no-deps --no-recreate --no-build --scale fastapi=2 fastapi
new=$(docker compose ps --quiet fastapi | grep -v "$old")
until docker inspect --format '{{.State.Health.Status}}' "$new" | grep -qx healthy; do sleep 1; done
docker stop "$old"
docker rm "$old"
"""


@dataclass
class Deployment:
    """What clients saw while a command replaced the code."""

    name: str
    seconds: list[float] = field(default_factory=list)
    requests: int = 0
    failed: int = 0
    longest: float = 0.0


@dataclass
class EdgeResult:
    """All of it; `alone` and `through` by route, as requests a second and p99."""

    alone: dict[str, tuple[float, float]] = field(default_factory=dict)
    through: dict[str, tuple[float, float]] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    problem: str = ""


def measure(result: EdgeResult, directory: Path, seconds: float, times: int) -> None:
    """Load the API with and without the edge, and replace its code in three ways.

    Args:
        result: takes what is found.
        directory: for a clone.
        seconds: for which each route is loaded, twice.
        times: deployments of each way.

    Raises:
        UnavailableError: Docker is not there.
    """
    if problem := runtime.docker_problem():
        raise UnavailableError(problem)
    port, name, tree = free_port(), f"bench-{os.getpid()}", directory / "edge-clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True, capture_output=True)
    environment = os.environ | {
        "RUNTIME": "docker", "API_PORT": str(port), "COMPOSE_PROJECT_NAME": name, "APP_IMAGE": name,
        "COMPOSE_FILE": "docker-compose.yml:docker-compose.prod.yml", "CPU_LIMIT": str(os.cpu_count()),
    }  # fmt: skip
    quiet = {"cwd": tree, "env": environment, "check": True, "capture_output": True}
    try:
        subprocess.run(["make", "prod"], **quiet)  # type: ignore[call-overload]
        for route, path in ROUTES.items():
            for found, host in ((result.alone, "fastapi"), (result.through, "edge")) * 2:
                rate, p99 = _load(name, host, path, seconds / 2)
                before = found.get(route, (0.0, 0.0))
                found[route] = max(rate, before[0]), max(p99, before[1])
        for way, command in {
            "`make prod`": ["make", "prod"],
            "`docker compose up -d`": ["docker", "compose", "up", "--detach", "--wait"],
            "docker-rollout's steps": ["sh", "-euc", _ROLLOUT],
        }.items():
            result.deployments.append(deployment := Deployment(way))
            for _ in range(times):
                with (tree / "src" / "kit" / "log.py").open("a") as file:
                    file.write("# a change\n")
                subprocess.run(["docker", "compose", "build", "--quiet", "fastapi"], **quiet)  # type: ignore[call-overload]
                _deploy(deployment, tree, environment, port, command)
    finally:
        label = f"label=com.docker.compose.project={name}"
        for command in (
            ["docker", "compose", "down", "--volumes"],
            ["docker", "image", "prune", "--force", "--all", "--filter", label],
        ):
            subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)


def _load(project: str, host: str, path: str, seconds: float) -> tuple[float, float]:
    mount = ["--volume", f"{ROOT / 'bench'}:/app/bench:ro", "--network", f"{project}_default"]
    load = ["python", "-m", "bench.load", host, "8000", path, str(CONNECTIONS), str(seconds)]
    found = json.loads("".join(listing("run", "--rm", *mount, project, *load)))
    return found["rate"], found["p99"]


def _deploy(
    deployment: Deployment, tree: Path, environment: Mapping[str, str], port: int, command: list[str]
) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, str(port), *command],
        cwd=tree, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    deployment.seconds.append(time.monotonic() - began)
    code, requests, failed, longest = json.loads(done.stdout)
    if code:
        with contextlib.suppress(IndexError):
            raise UnavailableError(f"{deployment.name} failed: {done.stderr.strip().splitlines()[-1]}")
    deployment.requests += requests
    deployment.failed += failed
    deployment.longest = max(deployment.longest, longest)
