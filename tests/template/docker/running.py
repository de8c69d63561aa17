"""A copy of the repository with a stack of its own on the Docker engine, driven by `make` as a user does."""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from src.reload.fingerprint import fingerprint
from tests.conftest import wait_until
from tests.kit.repository import copy_repository as copy_repository
from tools.ports import free_port

# What a shell of the person who runs the tests may hold, and the stack under test must not see.
FOREIGN = (
    "ALLOWED_HOSTS",
    "API_PORT",
    "API_REPLICAS",
    "APP_IMAGE",
    "GUNICORN_CONFIG",
    "API_KEYS",
    "API_KEYS_FILE",
    "REDIS_PASSWORD",
    "SERVER",
    "VIRTUAL_ENV",
    "WORKER_REPLICAS",
)


class Running:
    """A stack in a folder of its own, with its own project name and port."""

    def __init__(self, folder: Path, image: str) -> None:
        """Copy the repository; nothing is started yet.

        Args:
            folder: where to; made if it isn't there.
            image: name of the image, which several stacks may share.
        """
        copy_repository(folder)
        self.folder = folder
        self.port = free_port()
        self.project = f"e2e-{secrets.token_hex(4)}"
        kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        self.environment = kept | {
            "COMPOSE_PROJECT_NAME": self.project,
            "API_PORT": str(self.port),
            "APP_IMAGE": image,
            "RUNTIME": "docker",
        }
        self.log = folder.parent / f"{self.project}.log"
        self.foreground: subprocess.Popen[bytes] | None = None

    # Commands

    def make(self, target: str, *, seconds: float = 240, fails: bool = False, **variables: str) -> str:
        """Run `make target` to its end and return what it printed; it has to succeed, or to fail."""
        result = subprocess.run(
            ["make", target], cwd=self.folder, env=self.environment | variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert bool(result.returncode) == fails, f"make {target}:\n{result.stdout}"
        return result.stdout

    def start(self, target: str, **variables: str) -> None:
        """Start `make target` in the foreground of a terminal of its own, so to say."""
        with self.log.open("ab") as log:
            self.foreground = subprocess.Popen(
                ["make", target], cwd=self.folder, env=self.environment | variables,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def interrupt(self, seconds: float = 60) -> int:
        """Press Ctrl-C, which reaches every process of the terminal, and return make's exit code."""
        assert self.foreground
        os.killpg(self.foreground.pid, signal.SIGINT)
        code = self.foreground.wait(seconds)
        self.foreground = None
        return code

    def compose(self, *arguments: str, form: str = "dev", **variables: str) -> str:
        """The output of `docker compose` with the files of a form; it has to succeed."""
        files = ["-f", "docker-compose.yml", "-f", f"docker-compose.{form}.yml"]
        result = subprocess.run(
            ["docker", "compose", *files, *arguments], cwd=self.folder, env=self.environment | variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"docker compose {' '.join(arguments)}:\n{result.stdout}"
        return result.stdout

    def remove(self) -> None:
        """Stop everything, and take the volumes away."""
        try:
            if self.foreground and self.foreground.poll() is None:
                self.interrupt()
        finally:
            self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
            # What a rebuild has taken the name from.
            label = f"label=com.docker.compose.project={self.project}"
            prune = ["docker", "image", "prune", "--force", "--filter", label]
            subprocess.run(prune, capture_output=True, check=False)

    # What can be seen

    def output(self) -> str:
        """What the command in the foreground has printed so far."""
        return self.log.read_text("utf-8", errors="replace")

    def wait_for_line(self, text: str, seconds: float = 60, after: int = 0) -> None:
        """Wait until the foreground has printed a text, beyond the first `after` characters."""

        def look() -> bool:
            if text in (output := self.output()[after:]):
                return True
            assert self.foreground
            assert self.foreground.poll() is None, f"make ended before {text!r}:\n{output[-3000:]}"
            return False

        wait_until(look, seconds, f"{text!r} in {self.log}")

    def headers(self) -> dict[str, str]:
        """What a client sends: the clone's own key, which development takes no notice of."""
        return {"X-API-Key": (self.folder / "secrets" / "api_keys").read_text("ascii").split()[0]}

    def get(self, path: str) -> Any:
        """The JSON that a path answers, None while there is no answer or an error."""
        url = f"http://127.0.0.1:{self.port}{path}"
        try:
            response = httpx2.get(url, headers=self.headers(), timeout=10)
        except httpx2.TransportError:
            return None
        return response.json() if response.status_code == 200 else None

    def code(self) -> str:
        """Fingerprint of the code as it is in the folder."""
        return fingerprint(self.folder / "src")

    def wait_for_code(self, code: str, workers: int, seconds: float = 60) -> dict[str, Any]:
        """Wait until the API and so many workers run this code, and nobody another."""

        def look() -> dict[str, Any] | None:
            version: dict[str, Any] | None = self.get("/version")
            codes = [version["code"], *(worker["code"] for worker in version["workers"])] if version else []
            return version if codes == [code] * (workers + 1) else None

        return wait_until(
            look, seconds, f"{workers} workers and the API to run {code}: {self.get('/version')}"
        )

    def containers(self, service: str, *, ended: bool = False) -> list[dict[str, Any]]:
        """What the engine knows about a service's running containers, the same order every time.

        Args:
            service: its name in the compose files.
            ended: with those that have ended.
        """
        listing = ["docker", "ps", "-q", *(["--all"] if ended else [])]
        listing += ["--filter", f"label=com.docker.compose.project={self.project}"]
        listing += ["--filter", f"label=com.docker.compose.service={service}"]
        ids = sorted(subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split())
        if not ids:
            return []
        inspected = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=True)
        found: list[dict[str, Any]] = json.loads(inspected.stdout)
        return found

    # Sales

    def upload(self, content: bytes, name: str = "sales.csv") -> "httpx2.Response":
        """Post a file to be imported."""
        url = f"http://127.0.0.1:{self.port}/api/v1/sales/imports"
        file = (name, content, "text/csv")
        return httpx2.post(url, files={"file": file}, headers=self.headers(), timeout=60)

    def import_file(self, content: bytes, seconds: float = 120) -> Mapping[str, Any]:
        """Have a file imported, and return the import when it has ended."""
        response = self.upload(content)
        assert response.status_code == 202, response.text
        location = response.headers["Location"]

        def ended() -> Mapping[str, Any] | None:
            found: Mapping[str, Any] | None = self.get(location)
            return found if found and found["status"] in ("finished", "failed") else None

        return wait_until(ended, seconds, f"the end of {location}")
