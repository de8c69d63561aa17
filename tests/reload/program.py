"""A small program under the supervisor, as a real process whose log and behaviour the tests observe."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil

from tests.conftest import ROOT, wait_until
from tests.kit.processes import marked_processes, start
from tests.kit.repository import replace

CHANGED = "CODE CHANGED - Restarting worker to load new code"

MAIN = """
import os, threading, time
from pathlib import Path
from pkg.version import VERSION

def say(word):
    with open("said", "a") as file:
        file.write(f"{word} {VERSION} {os.getpid()}\\n")

def run(generation):
    stop = threading.Event()
    generation.loaded()
    if not generation.ready(stop.set):
        return
    say("working")
    generation.working()
    stop.wait()
    generation.quiet()
    say("quiet")
    while Path("busy").exists():
        time.sleep(0.01)
    say("left")
"""

RUN = """
import json, logging, sys
from pathlib import Path
from src.reload import Supervisor

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s", stream=sys.stdout)
options = json.loads(sys.argv[1])
sys.exit(Supervisor("pkg.main:run", [Path("pkg")], **options).run())
"""


class Program:
    """The package `pkg` in a folder, and a supervisor that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._mark = uuid.uuid4().hex
        self.save("__init__.py", "")
        self.save("main.py", MAIN)
        self.save("version.py", "VERSION = 1\n")
        (folder / "run.py").write_text(RUN)

    def save(self, name: str, content: str) -> None:
        """Save a file of the package."""
        path = self.folder / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, content)

    def start(self, options: str = "{}", **variables: str) -> None:
        """Start the supervisor; `options` are its keyword arguments as JSON, `variables` more environment."""
        self.run([sys.executable, "run.py", options], **variables)

    def run(self, command: list[str], **variables: str) -> None:
        """Run a command in the program's folder."""
        environment = os.environ | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}",
            "RELOAD_TEST": self._mark,
            "PYTHONUNBUFFERED": "1",
            **variables,
        }
        log = self.folder / "log"
        self.process = start(command, log, cwd=self.folder, env=environment, start_new_session=True)

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        assert self.process
        return self.process.pid

    @property
    def log(self) -> str:
        """What the supervisor has logged."""
        return (self.folder / "log").read_text()

    def said(self, word: str) -> list[tuple[str, int]]:
        """Version and process of every generation that said a word, in order."""
        path = self.folder / "said"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(version, int(pid)) for said, version, pid in lines if said == word]

    def wait_for(self, word: str, version: int | str, seconds: float = 15) -> int:
        """Wait until a generation with this version says a word; returns its process."""
        pids = wait_until(
            lambda: [pid for found, pid in self.said(word) if found == str(version)],
            seconds,
            f"{word} {version}, but there is only {self.log}",
        )
        return pids[-1]

    def wait_for_log(self, text: str, count: int = 1, seconds: float = 15) -> None:
        """Wait until the supervisor has logged a text."""
        wait_until(lambda: self.log.count(text) >= count, seconds, f"{text!r} in {self.log}")

    def processes(self) -> list[psutil.Process]:
        """All processes that belong to the program, whoever their parent is."""
        return marked_processes("RELOAD_TEST", self._mark)

    def fork_server(self) -> psutil.Process:
        """The process that new generations are forked from."""
        return wait_until(
            lambda: next(
                (
                    process
                    for process in self.processes()
                    if "forkserver" in " ".join(process.cmdline()) and process.ppid() == self.pid
                ),
                None,
            ),
            what="the fork server",
        )

    def insist(self, number: signal.Signals) -> None:
        """Send another signal that counts: one right after the first counts as the same."""

        def is_killed() -> bool:
            self.signal(number)
            return re.search(r"Stopping the \w+ at once", self.log) is not None

        wait_until(is_killed, what="the second signal to count")

    def signal(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        os.kill(self.pid, number)

    def wait(self, seconds: float = 15) -> int:
        """The supervisor's exit code."""
        assert self.process
        return self.process.wait(seconds)

    def kill_all(self) -> None:
        """End whatever a test left over."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process:
            self.process.wait(5)
