"""What `make doctor` asks Docker, and the Python that runs the code; nothing is started or changed."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tools import project
from tools.console import Problem

_INSTALL = "install it from https://docs.docker.com/engine/install/."
_START = "start it, and see whether you may use it (group docker)."
# Not hidden, since the reload skips hidden files, and not Python, so that nothing reloads.
_PROBE = project.ROOT / "src" / "make-doctor-probe"
# With the file events of the reload itself. It ends by itself, because nobody can end it in a container.
_LOOK = """
import json, os, pathlib, shutil, threading, time
packages = pathlib.Path("requirements.txt").read_text()
print(json.dumps([time.time(), shutil.disk_usage(".").free, packages]), flush=True)
from src.reload.events import read_events
stop = threading.Event()
threading.Timer(3, stop.set).start()
announce = lambda paths: print(*map(os.path.basename, paths), sep="\\n", flush=True)
read_events(os.path.realpath("src"), announce, stop, lambda path: False)
"""


def run(*command: str, environment: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command in the clone, for at most eight seconds; what can't be run fails."""
    try:
        return subprocess.run(
            command, cwd=project.ROOT, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=8, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def numbers(version: str) -> list[int]:
    """The numbers of a version, to compare it."""
    return [int(number) for number in re.findall(r"\d+", version)[:3]]


@lru_cache
def state() -> Problem:
    """The versions, or why Docker can't be used here: then nothing else asks it."""
    if os.environ.get("RUNTIME") == "native":
        return Problem("Docker was not checked", "leave RUNTIME=native out.", "note")
    if not shutil.which("docker"):
        return Problem("there is no docker command, so everything runs natively", _INSTALL, "note")
    found = []
    for name, needed, *command in (  # for healthcheck.start_interval
        ("Docker", "25.0", "version", "--format", "{{.Server.Version}}"),
        ("Compose", "2.20.2", "compose", "version", "--short"),
    ):
        done = run("docker", *command)
        if done.returncode:
            return Problem(f"{name} does not answer ({done.stderr.strip()})", _START, "note")
        found.append(f"{name} {done.stdout.strip()}")
        if numbers(done.stdout) < numbers(needed):
            return Problem(f"{found[-1]} is too old, the compose files need {needed}", _INSTALL)
    return Problem(", ".join(found), level="ok")


def container_of(name: str) -> dict[str, Any] | None:
    """A container of a service of this clone, as Docker describes it; None if none runs."""
    label = '{{.ID}} {{.Label "com.docker.compose.project.working_dir"}}'
    service = f"label=com.docker.compose.service={name}"
    if state().level == "ok":
        for line in run("docker", "ps", "--filter", service, "--format", label).stdout.splitlines():
            container, _, folder = line.partition(" ")
            if folder and Path(folder).resolve() == project.ROOT:
                return dict(json.loads(run("docker", "inspect", container).stdout)[0])
    return None


def check() -> Iterator[Problem]:
    """Docker's versions, whether Compose understands the files with .env, and the space for Docker's data."""
    yield state()
    if state().level != "ok":
        return
    for form in ("dev", "prod"):
        files = ("-f", "docker-compose.yml", "-f", f"docker-compose.{form}.yml")
        if (done := run("docker", "compose", *files, "config", "--quiet")).returncode:
            yield Problem(f"Compose can't read {files[3]} ({done.stderr})", "correct it, or .env.")
    folder = Path(run("docker", "info", "--format", "{{.DockerRootDir}}").stdout.strip())
    if folder.is_dir():  # otherwise in a virtual machine
        yield from _space(shutil.disk_usage(folder).free, f"Docker's {folder}")


def look(where: str, python: Sequence[str]) -> Iterator[Problem]:
    """What a Python sees of its clock, disk and packages, and of a file that appears in `src`."""
    command, pipe = [*python, "-c", _LOOK], subprocess.PIPE
    process = subprocess.Popen(command, cwd=project.ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    try:
        lines = map(str.strip, process.stdout or ())
        clock, free, packages = json.loads(next(lines, ""))
        yield from _clock(clock, f"the clock of {where}")
        yield from _space(free, where)
        if packages != (project.ROOT / "requirements.txt").read_text("utf-8"):
            yield Problem("the image is older than requirements.txt", "stop the stack and start it again.")
        said = next(lines, "")  # from now on it listens
        _PROBE.write_bytes(b"")
        yield from _clock(_PROBE.stat().st_mtime, f"the disk of {where}")
        for said in lines:
            if said == _PROBE.name:
                return
        fix = "make .venv (`make check`), use a local disk (Windows: in WSL 2), or raise fs.inotify's limits."
        yield Problem(f"{where} gets no file events and scans src instead ({said})", fix, "note")
    finally:
        process.kill()
        process.communicate()
        _PROBE.unlink(missing_ok=True)


def _clock(clock: float, what: str) -> Iterator[Problem]:
    if abs(ahead := clock - time.time()) > 2:
        yield Problem(f"{what} is {ahead:+.0f} s off", "set both clocks (Docker Desktop, WSL 2: restart it).")


def _space(free: int, where: str) -> Iterator[Problem]:
    if free < 1_000_000_000:
        yield Problem(
            f"only {free // 10**6} MB are free in {where}", "make space (`docker system prune` helps)."
        )
