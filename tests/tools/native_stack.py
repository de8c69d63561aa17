"""A stack without Docker, as `make` starts it."""

import os
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests.conftest import wait_until
from tests.kit.processes import start
from tools.ports import free_port

MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "RUNTIME", "SERVER")


class Stack:
    """A running `make dev` or `make prod`."""

    def __init__(self, tree: Path, log: Path, target: str, **variables: str) -> None:
        self.tree, self.log, self.port = tree, log, free_port()
        environment = {name: value for name, value in os.environ.items() if name not in MAKE_VARIABLES}
        for name in ("REDIS_URL", "REDIS_PASSWORD", "DATABASE_URL", "DATABASE_PASSWORD"):
            environment.pop(name, None)
        environment |= variables
        command = ["make", target, "RUNTIME=native", f"API_PORT={self.port}"]
        self.make = start(
            command, log, cwd=tree, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.seen: dict[int, psutil.Process] = {}

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.make.poll() is None, self.output()
            return "\nReady.\n" in self.output()

        wait_until(ready, 300, "the line that says that it is ready")
        self.note_processes()

    def note_processes(self) -> None:
        for process in psutil.Process(self.make.pid).children(recursive=True):
            self.seen[process.pid] = process

    def runner(self) -> psutil.Process:
        return next(each for each in self.seen.values() if "tools.native" in each.cmdline())

    def child(self, part: str) -> psutil.Process:
        return next(each for each in self.runner().children() if part in " ".join(each.cmdline()))

    @cached_property
    def key(self) -> str:
        """The API key, as a user gets it."""
        command = ["make", "-s", "api-key", "RUNTIME=native"]
        made = subprocess.run(command, cwd=self.tree, capture_output=True, text=True, check=True)
        return made.stdout.strip()

    def get(self, path: str) -> Any:
        """The JSON that a path answers, None if there is no answer."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            return httpx2.get(url, headers={"X-API-Key": self.key}, timeout=15).json()
        except httpx2.TransportError:
            return None

    def codes(self) -> set[str]:
        """The fingerprints of the code of the API and of each worker that is not about to leave."""
        if not (version := self.get("/version")):
            return set()
        return {version["code"], *(worker["code"] for worker in version["workers"])}

    def ask_whether_live(self, code: int, *variables: str) -> str:
        """What `make live` prints; its exit code has to be this one."""
        command = ["make", "-s", "live", f"API_PORT={self.port}", *variables]
        done = subprocess.run(command, cwd=self.tree, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def wait_until_gone(self) -> None:
        self.make.wait(60)
        wait_until(lambda: not self._alive(), 20, "the processes to end")

    def _alive(self) -> list[psutil.Process]:
        return [each for each in self.seen.values() if each.is_running() and each.status() != "zombie"]
