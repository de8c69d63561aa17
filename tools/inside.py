"""Commands that run where the stack runs: in its containers, or natively."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence

from tools import docker, pidfile, project, runtime, venv
from tools.console import ToolError, say

UPGRADE = ["alembic", "upgrade", "head"]


def is_on_docker() -> bool:
    """Choose the runtime, and make what it needs; standard output stays free for what a command prints."""
    with contextlib.redirect_stdout(sys.stderr):
        chosen = runtime.choose(os.environ)
        project.set_up()
    return chosen == "docker"


def in_stack(*modules: list[str]) -> int:
    """Run Python modules in the development stack, natively if it is not on Docker; return the exit code."""
    if is_on_docker():
        if (code := in_api(*modules)) is not None:
            return code
        if sys.platform == "win32":
            raise ToolError("The development stack does not run: start it with `make dev` first.")
        if UPGRADE in modules:
            say("The development stack does not run on Docker: using SQLite in data/app.db.")
    return natively(*modules)


def natively(*modules: list[str]) -> int:
    """Run Python modules in `.venv`, with the Redis of the native stack if it runs; return the exit code."""
    python = venv.ensure()
    settings = pidfile.running_settings()
    settings.pop("ENVIRONMENT", None)
    environment = project.environment(**settings)
    environment["DATABASE_URL"] = environment.get("DATABASE_URL") or "sqlite:///data/app.db"
    for module in modules:
        command: list[str] = [str(python), "-m", *module]
        if code := subprocess.run(command, cwd=project.ROOT, env=environment, check=False).returncode:
            return code
    return 0


def in_api(*modules: Sequence[str]) -> int | None:
    """Run Python modules in the development API, whose code is the host's; None if that is not running."""
    if docker.Compose("dev").running() != "development":
        return None
    for module in modules:
        if code := execute("fastapi", "python", "-m", *module):
            return code
    return 0


def execute(service: str, *command: str) -> int:
    """Run a command in a container of the stack, on this terminal if there is one."""
    compose = docker.Compose("dev")
    if not compose.read("ps", "--quiet", "--status", "running", service):
        raise ToolError("The stack does not run on Docker: `make dev` starts it, RUNTIME=native is without.")
    terminal = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["-T"]
    return compose.run("exec", *terminal, service, *command)


def in_development(module: Sequence[str]) -> int:
    """Run a Python module in the development API, or if no stack runs, in a container with its database."""
    compose = docker.Compose("dev")
    if compose.running() == "production" or docker.is_deployed(compose.environment["COMPOSE_PROJECT_NAME"]):
        raise ToolError("The production stack runs here: `make db-reset` is for the data of development.")
    if (code := in_api(module)) is not None:
        return code
    is_alone = not compose.read("ps", "--quiet")
    code = compose.run("run", "--rm", "--build", "--no-TTY", "migrate", "python", "-m", *module)
    if is_alone:
        compose.run("down", "--remove-orphans")
    return code
