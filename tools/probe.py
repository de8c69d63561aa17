"""Asks the API all the time while a deployment replaces it, and counts what fails."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from tools import project
from tools.console import ToolError, say
from tools.probe_clients import Counts

CANARY = "15"
"""Seconds in which a new version that gets the requests is watched, unless CANARY_SECONDS says otherwise."""


def is_strict(environment: Mapping[str, str]) -> bool:
    """Whether PROVE asks to go back at the first request that fails.

    Raises:
        ToolError: it asks for something else.
    """
    if (wish := environment.get("PROVE", "")) not in ("", "strict"):
        raise ToolError(f"PROVE={wish} is unknown: PROVE=strict, or leave it out.")
    return wish == "strict"


def canary_seconds(environment: Mapping[str, str]) -> int:
    """How long a new version is watched.

    Raises:
        ToolError: CANARY_SECONDS is not a number.
    """
    if not (seconds := environment.get("CANARY_SECONDS") or CANARY).isdecimal():
        raise ToolError(f"CANARY_SECONDS={seconds} is not a number of seconds: write {CANARY}, for instance.")
    return int(seconds)


class Probe:
    """The clients of `tools.probe_clients`, in a process of their own: what a deployment does delays none."""

    def __init__(self, port: int) -> None:
        """Start nothing yet.

        Args:
            port: the edge's, on this machine.
        """
        self.counts = Counts()
        self._command = [sys.executable, "-m", "tools.probe_clients", str(port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        """Begin to ask; from now on, what this process does comes after what serves."""
        self._process = subprocess.Popen(
            self._command, cwd=project.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._reader.start()
        with suppress(AttributeError):  # Windows
            os.nice(10)

    def _read(self) -> None:
        for line in (self._process and self._process.stdout) or ():
            self.counts = Counts(*json.loads(line))

    def stop(self) -> None:
        """Stop asking, and wait for the answers that are still to come."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()
            self._reader.join()

    def summary(self) -> str:
        """What was counted, as a part of a sentence."""
        waited = f"longest wait {self.counts.longest * 1000:,.0f} ms"
        return f"{self.counts.failed:,} of {self.counts.requests:,} requests failed, {waited}"

    def say_first_failure(self) -> None:
        """Print why the first request failed, if one did."""
        if self.counts.first_failure:
            say(f"The first request that failed: {self.counts.first_failure}")


@contextmanager
def proven(version: str, port: int | None, go_back: Callable[[], None]) -> Iterator[None]:
    """Ask the API all the time while it is replaced, and say what failed: PROVE=strict goes back then.

    Args:
        version: what replaces it.
        port: the edge's; None if nothing ran before.
        go_back: brings back what ran before.

    Raises:
        ToolError: a request failed, and PROVE=strict.
    """
    strict, began, probe = is_strict(os.environ), time.monotonic(), Probe(port or 0)
    if port:
        probe.start()
    yield
    text = f"{version}: live in {time.monotonic() - began:.0f} s"
    if port:
        probe.stop()
        text += f", {probe.summary()}"
    say(f"{text}.")
    probe.say_first_failure()
    if probe.counts.failed and strict:
        go_back()
        raise ToolError("A request failed, and PROVE=strict: what ran before runs again.")
