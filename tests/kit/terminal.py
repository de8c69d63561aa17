"""A terminal as a person has it: a program runs in it, and what is on the screen can be waited for."""

import fcntl
import os
import re
import signal
import subprocess
import termios
import threading
from pathlib import Path

from tests.conftest import wait_until


class Terminal:
    """A program in a terminal of its own, as its foreground process group."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        """Start the program."""
        self._master, slave = os.openpty()
        self._screen = bytearray()
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment | {"TERM": "dumb"}, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        self.attributes = termios.tcgetattr(slave)
        self._slave = slave
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := os.read(self._master, 65536):
            self._screen += data

    @property
    def screen(self) -> str:
        """All that was shown so far, without control sequences."""
        text = self._screen.decode(errors="replace").replace("\r\n", "\n")
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    @property
    def is_colored(self) -> bool:
        """Whether anything that was shown has a color."""
        return re.search(rb"\x1b\[[0-9;]+m", self._screen) is not None

    def type(self, keys: str) -> int:
        """Press keys; returns how much is on the screen by then, for `wait_for`."""
        before = len(self.screen)
        os.write(self._master, keys.encode())
        return before

    def wait_for(self, text: str, after: int = 0, seconds: float = 30) -> int:
        """Wait until a text is shown, beyond the first `after` characters; returns where it ends."""

        def look() -> int:
            return self.screen.find(text, after) + len(text) if text in self.screen[after:] else 0

        return wait_until(look, seconds, f"{text!r} after {self.screen[max(0, after - 500) :][-3000:]!r}")

    def is_as_before(self) -> bool:
        """Whether the terminal has the settings that it started with, echo for example."""
        return termios.tcgetattr(self._slave) == self.attributes

    def close(self) -> None:
        """End the program as Ctrl-C does, and by force if that does not help."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(60)
            finally:
                if self.process.poll() is None:
                    os.killpg(self.process.pid, signal.SIGKILL)
