"""Copies of the repository, in which commands run as a user runs them."""

import json
import os
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import httpx2

from src.reload.fingerprint import fingerprint
from tests.conftest import wait_until
from tests.kit.processes import start
from tests.kit.repository import replace
from tools.ports import free_port

LONGEST = 900
"""Seconds that a command may take."""

# What a shell of the person who runs the tests may hold, and a stack under test must not see.
FOREIGN = (
    "ALLOWED_HOSTS", "API_BIND", "API_PORT", "API_REPLICAS", "APP_IMAGE", "GUNICORN_CONFIG", "API_KEYS",
    "API_KEYS_FILE",
    "DATABASE_PASSWORD", "DATABASE_URL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "REDIS_PASSWORD", "REDIS_URL",
    "RUNTIME", "SERVER", "SITE", "VIRTUAL_ENV", "WORKER_REPLICAS",
)  # fmt: skip
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in FOREIGN} | {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Tester"), ("EMAIL", "tester@example.com"))
}


def attempt(folder: Path, *command: str, **variables: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and what it printed."""
    with tempfile.TemporaryFile() as output:  # not a pipe, which what the command leaves behind may keep open
        process = subprocess.Popen(
            command, cwd=folder, env=ENVIRONMENT | {"RUNTIME": "native"} | variables,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(LONGEST)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        return code, output.read().decode()


def run(folder: Path, *command: str, **variables: str) -> str:
    """Run a command to its end and return what it printed; it has to succeed."""
    code, output = attempt(folder, *command, **variables)
    assert code == 0, f"{' '.join(command)}:\n{output}"
    return output


def refused(folder: Path, *command: str, **variables: str) -> str:
    """Run a command that has to fail, without a traceback of ours, and return what it printed."""
    code, output = attempt(folder, *command, **variables)
    assert code != 0, f"{' '.join(command)}:\n{output}"
    return output


class Running:
    """A stack in a copy of the repository, with a project name and a port that no other one has."""

    def __init__(self, folder: Path, runtime: str, **variables: str) -> None:
        """Start nothing yet.

        Args:
            folder: the copy.
            runtime: `native` or `docker`.
            variables: what the environment of all commands has besides.
        """
        self.folder, self.port, self.project = folder, free_port(), f"e2e-{secrets.token_hex(4)}"
        self.environment = {
            "RUNTIME": runtime, "API_PORT": str(self.port), "COMPOSE_PROJECT_NAME": self.project
        } | variables  # fmt: skip
        self.command: tuple[str, ...] = ("make",)
        self.foreground: subprocess.Popen[bytes] | None = None
        self.log = folder.parent / f"{self.project}.log"

    # Commands

    def make(self, target: str, **variables: str) -> str:
        """Run `make target` to its end and return what it printed; it has to succeed."""
        return run(self.folder, *self.command, *target.split(), **self.environment | variables)

    def make_refused(self, target: str, **variables: str) -> str:
        """Run `make target`, which has to fail, and return what it printed."""
        return refused(self.folder, "make", target, **self.environment | variables)

    def start(self, target: str, ready: str = "", **variables: str) -> None:
        """Start `make target` in the foreground, like in a terminal, and wait until it has printed a text."""
        before = len(self.output())
        self.foreground = start(
            [*self.command, target], self.log, cwd=self.folder,
            env=ENVIRONMENT | self.environment | variables,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.wait_for_line(ready, 300, before)

    def interrupt(self) -> int:
        """Press Ctrl-C, which reaches every process of the terminal, and return make's exit code."""
        assert self.foreground
        os.killpg(self.foreground.pid, signal.SIGINT)
        code = self.foreground.wait(90)
        self.foreground = None
        return code

    def compose(self, *arguments: str, form: str = "prod", **variables: str) -> str:
        """The output of `docker compose` with the files of a form; it has to succeed."""
        files = ("-f", "docker-compose.yml", "-f", f"docker-compose.{form}.yml")
        return run(self.folder, "docker", "compose", *files, *arguments, **self.environment | variables)

    def inside(self, service: str, *command: str) -> str:
        """The output of a command in a container of a service."""
        return self.compose("exec", "-T", service, *command)

    def stop(self) -> None:
        """Stop everything; on Docker, take the volumes away, and images that a newer one took the name of."""
        try:
            if self.foreground and self.foreground.poll() is None:
                self.interrupt()
        finally:
            if self.environment["RUNTIME"] != "native":
                self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
                label = f"label=com.docker.compose.project={self.project}"
                run(self.folder, "docker", "image", "prune", "--force", "--filter", label)

    # What can be seen

    def output(self) -> str:
        """What the commands in the foreground have printed so far."""
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    def wait_for_line(self, text: str, seconds: float = 60, after: int = 0) -> None:
        """Wait until the foreground has printed a text, beyond the first `after` characters."""

        def look() -> bool:
            if text in (output := self.output()[after:]):
                return True
            assert self.foreground
            assert self.foreground.poll() is None, f"make ended before {text!r}:\n{output[-3000:]}"
            return False

        wait_until(look, seconds, f"{text!r} in {self.log}")

    def request(self, method: str, path: str, **arguments: Any) -> "httpx2.Response | None":
        """What a request with the key of this copy is answered, None if there is no answer."""
        key = (self.folder / "secrets" / "api_keys").read_text("ascii").split()[0]
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            return httpx2.request(method, url, headers={"X-API-Key": key}, timeout=60, **arguments)
        except httpx2.TransportError:
            return None

    def get(self, path: str) -> Any:
        """The JSON that a path answers, None while there is no answer or an error."""
        response = self.request("GET", path)
        return response.json() if response is not None and response.status_code == 200 else None

    def wait_for_code(self, workers: int) -> dict[str, Any]:
        """Wait until the API and so many workers run the code in the folder, and nothing runs another."""
        code = fingerprint(self.folder / "src")

        def look() -> dict[str, Any] | None:
            version: dict[str, Any] | None = self.get("/version")
            codes = [version["code"], *(worker["code"] for worker in version["workers"])] if version else []
            return version if codes == [code] * (workers + 1) else None

        return wait_until(look, 90, f"{workers} workers and the API to run {code}: {self.get('/version')}")

    def containers(self, service: str, *, ended: bool = False) -> list[dict[str, Any]]:
        """What the engine knows about a service's running containers, the same order every time.

        Args:
            service: its name in the compose files.
            ended: with those that have ended.
        """
        labels = (f"project={self.project}", f"service={service}")
        filters = [f"--filter=label=com.docker.compose.{label}" for label in labels]
        listed = run(self.folder, "docker", "ps", "-q", *(["--all"] if ended else []), *filters)
        ids = sorted(listed.split())
        found: list[dict[str, Any]] = json.loads(run(self.folder, "docker", "inspect", *ids) if ids else "[]")
        return found


def edit(path: Path, addition: str) -> str:
    """Append to a file in one step, as many editors save; returns what the file was."""
    before = path.read_text("utf-8")
    replace(path, before + addition)
    return before
