"""Chooses between Docker and native processes."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Literal

from tools.console import ToolError, say


def choose(environment: Mapping[str, str]) -> Literal["docker", "native"]:
    """Choose the runtime that RUNTIME names, else Docker if a daemon answers; print the choice."""
    wanted = environment.get("RUNTIME", "").strip().lower()
    if wanted not in ("", "docker", "native"):
        raise ToolError(f"RUNTIME={wanted} is unknown: RUNTIME=docker, RUNTIME=native, or leave it out.")
    chosen: Literal["docker", "native"] = "native"
    if wanted == "native":
        reason = "RUNTIME=native asks for it"
    elif problem := docker_problem():
        if wanted == "docker":
            raise ToolError(f"RUNTIME=docker is not possible: {problem}. Fix that, or use RUNTIME=native.")
        reason = f"{problem}; RUNTIME=docker insists on one"
    else:
        chosen = "docker"
        reason = "a Docker daemon answers; RUNTIME=native does without"
        if wanted:
            reason = "RUNTIME=docker asks for it"
    if chosen == "native":
        refuse_windows(f"Native processes ({reason.partition(';')[0]})", "start Docker Desktop")
    say(f"Runtime: {chosen} ({reason}).")
    return chosen


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
