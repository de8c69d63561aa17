"""Docker or native processes: which of the two, and why."""

import subprocess
from collections.abc import Mapping
from typing import Literal, NamedTuple

from tools.console import ToolError, say
from tools.project import has_command


class Runtime(NamedTuple):
    """Where the processes run, with the reason in words."""

    name: Literal["docker", "native"]
    reason: str


def choose(environment: Mapping[str, str]) -> Runtime:
    """Take the runtime that RUNTIME names, else Docker where a daemon answers; say it in the first line.

    Raises:
        ToolError: RUNTIME names no runtime, or insists on a Docker that is not there.
    """
    wanted = environment.get("RUNTIME", "").strip().lower()
    if wanted not in ("", "docker", "native"):
        raise ToolError(f"RUNTIME={wanted} is unknown: RUNTIME=docker, RUNTIME=native, or leave it out.")
    if wanted == "native":
        runtime = Runtime("native", "RUNTIME=native asks for it")
    elif lack := docker_lack():
        if wanted == "docker":
            raise ToolError(f"RUNTIME=docker is not possible: {lack}. Mend that, or use RUNTIME=native.")
        runtime = Runtime("native", f"{lack}; RUNTIME=docker insists on one")
    else:
        because = (
            "RUNTIME=docker asks for it" if wanted else "a Docker daemon answers; RUNTIME=native does without"
        )
        runtime = Runtime("docker", because)
    say(f"Runtime: {runtime.name} ({runtime.reason}).")
    return runtime


def docker_lack() -> str | None:
    """What Docker lacks to run the stack, None if nothing."""
    if not has_command("docker"):
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
