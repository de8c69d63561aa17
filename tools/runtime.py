"""Chooses between Docker and native processes."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Literal, NamedTuple

from tools.console import ToolError, say


class Runtime(NamedTuple):
    """Where the processes run, and why."""

    name: Literal["docker", "native"]
    reason: str


def choose(environment: Mapping[str, str]) -> Runtime:
    """Choose the runtime that RUNTIME names, else Docker if a daemon answers; print the choice."""
    wanted = environment.get("RUNTIME", "").strip().lower()
    if wanted not in ("", "docker", "native"):
        raise ToolError(f"RUNTIME={wanted} is unknown: RUNTIME=docker, RUNTIME=native, or leave it out.")
    if wanted == "native":
        runtime = Runtime("native", "RUNTIME=native asks for it")
    elif problem := docker_problem():
        if wanted == "docker":
            raise ToolError(f"RUNTIME=docker is not possible: {problem}. Fix that, or use RUNTIME=native.")
        runtime = Runtime("native", f"{problem}; RUNTIME=docker insists on one")
    else:
        because = (
            "RUNTIME=docker asks for it" if wanted else "a Docker daemon answers; RUNTIME=native does without"
        )
        runtime = Runtime("docker", because)
    if runtime.name == "native":
        refuse_windows(f"Native processes ({runtime.reason.partition(';')[0]})", "start Docker Desktop")
    say(f"Runtime: {runtime.name} ({runtime.reason}).")
    return runtime


def refuse_windows(what: str, instead: str) -> None:
    """Raise a ToolError on Windows, where only containers run our code."""
    if sys.platform == "win32":
        raise ToolError(f"{what} need Linux or macOS: on Windows, {instead}, or a clone inside WSL 2.")


def docker_problem() -> str | None:
    """Why Docker cannot run the stack; None if it can."""
    if not shutil.which("docker"):
        return "no docker command found"
    if not _answers("docker", "info"):
        return "no Docker daemon answers"
    if not _answers("docker", "compose", "version"):
        return "Docker has no compose plugin"
    return None


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
