"""`breakpoint()` in development: its prompt is in another process, which has the terminal (`terminal.py`)."""

import contextlib
import logging
import os
import pdb
import sys
from multiprocessing.connection import Client
from typing import Any

from .pause import pause

ADDRESS = "DEBUGGER"
"""The environment variable that says who has the terminal: `host:port`, or the path of a Unix socket."""

HINT = "For a prompt, run `make dev` in a terminal; on Docker, run `make attach` in another one."

logger = logging.getLogger(__name__)


def install() -> None:
    """Give `breakpoint()` and `pdb.set_trace()` a prompt in this process; never call it in production."""
    pdb.set_trace = set_trace
    sys.breakpointhook = sys.__breakpointhook__  # debugpy replaces it when it is imported


def address() -> str | tuple[str, int]:
    """Where the process that has the terminal listens."""
    host, _, port = os.environ.get(ADDRESS, "").rpartition(":")
    return (host, int(port)) if host else port


def set_trace(*, header: str | None = None, commands: list[str] | None = None) -> None:
    """What `pdb.set_trace` does, with a prompt elsewhere; a warning says how to get one if there is none."""
    above = frame = sys._getframe(1)
    pydevd: Any = sys.modules.get("pydevd")
    if pydevd and pydevd._is_attached():
        pydevd.settrace(trace_only_current_thread=True, stop_at_frame=frame)
        return
    debugger, problem = Debugger(), None
    while above.f_back and not problem:
        above = above.f_back
        if above.f_code.co_filename.startswith("<frozen importlib"):
            problem = "the code is still being imported"
    if problem or not debugger.open():
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        logger.warning(
            "breakpoint() at %s is skipped: %s. %s", place, problem or "no terminal is attached", HINT
        )
        return
    debugger.rcLines += [*([f"!print({header!r})"] if header else []), *(commands or [])]
    debugger.set_trace(frame)  # the last line: what is called from now on is traced


class Debugger(pdb.Pdb):
    """Python's debugger, at a prompt in another process."""

    def __init__(self) -> None:
        files: Any = self  # it has the methods of a file, as far as they are used
        super().__init__(stdin=files, stdout=files, nosigint=True)
        self._text, self._connection = "", None

    def open(self) -> bool:
        """Wait for its turn at the terminal; returns whether there is one."""
        with pause(), contextlib.suppress(OSError, EOFError):
            if not self._connection:
                connection: Any = Client(address())
                connection.recv_bytes()
                self._connection = connection
        return self._connection is not None

    def interaction(self, *args: Any, **options: Any) -> None:
        if not self.open():
            self.set_continue()
            return
        with pause():
            super().interaction(*args, **options)

    def set_continue(self) -> None:
        self._close()
        super().set_continue()

    def set_quit(self) -> None:
        self._close()
        super().set_quit()

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def write(self, text: str) -> None:
        self._text += text

    def flush(self) -> None:
        pass

    def readline(self) -> str:
        """Show what was written, which ends with a prompt, and return what is typed; go on if nobody can."""
        text, self._text = self._text, ""
        with contextlib.suppress(OSError, EOFError):
            if self._connection:
                self._connection.send_bytes(text.encode())
                return str(self._connection.recv_bytes(), "utf-8") + "\n"
        return "continue\n"
