"""What the supervisor tells people: which files have changed, and why code can't be loaded."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing import current_process
from pathlib import Path
from threading import Thread

from .protocol import NAME_PREFIX, is_generation

logger = logging.getLogger(__name__)

NAMES_SHOWN = 5

STATE = "RELOAD_STATE"
"""The environment variable with the folder of what `current_problem` and `is_alone` return in generations."""


class Report:
    """Reports on the code of one program."""

    def __init__(
        self,
        roots: Sequence[str],
        folder: str,
        say_changes: Callable[[list[str]], None] | None,
        on_problem: Callable[[str, str], None] | None,
    ) -> None:
        """Prepare; generations find what they have to know in files in `folder`."""
        self._roots = roots
        self._folder = os.environ[STATE] = folder
        self._on_problem = on_problem
        self._problem: str | None = None
        self._say_changes = say_changes or (
            lambda paths: logger.info("Code change detected: %s", self._names(paths))
        )

    def changes(self, paths: list[str]) -> None:
        """Log changed files, and which of them this very process has loaded, too."""
        if not paths:
            return
        self._say_changes(paths)
        loaded = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        if own := [path for path in paths if path in loaded]:
            logger.warning("The supervisor itself keeps the old %s until a restart", self._names(own))

    def broken(self, place: str, reason: str, trace: str, codes: list[str], *, is_working: bool) -> None:
        """Log that the code with these fingerprints can't be loaded, and whether earlier code is at work."""
        outlook = "the last good code keeps working" if is_working else "waiting for the next save"
        logger.error("Code can't be loaded, %s: %s: %s", outlook, place, reason)
        logger.debug("%s", trace)
        self._publish(codes, f"{place}: {reason}")

    def good(self) -> None:
        """Note that the code can be loaded."""
        self._publish([""], "")

    def alone(self, number: int) -> None:
        """Note that all generations before this one start nothing new any more."""
        self._write("alone", f"{NAME_PREFIX}{number}")

    def _publish(self, codes: list[str], problem: str) -> None:
        self._write("problem", f"{' '.join(codes)}\n{problem}")
        if self._on_problem and (problem or self._problem != ""):
            Thread(target=self._on_problem, args=(codes[0], problem), name="problem", daemon=True).start()
        self._problem = problem

    def _write(self, name: str, text: str) -> None:
        with contextlib.suppress(OSError):
            scratch = Path(self._folder, f"{name}.new")
            scratch.write_text(text)
            scratch.replace(Path(self._folder, name))

    def _names(self, paths: list[str]) -> str:
        """The first few paths, each relative to the watched folder that it is in."""
        below = [os.path.join(root, "") for root in (*self._roots, os.getcwd())]
        names = [
            path[max((len(each) for each in below if path.startswith(each)), default=0) :] for path in paths
        ]
        shown = ", ".join(names[:NAMES_SHOWN])
        return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def current_problem(code: str | None = None) -> str | None:
    """File, line and reason why the newest code, or that with this fingerprint, could not be loaded."""
    codes, _, problem = _read("problem").partition("\n")
    return problem or None if code is None or code in codes.split() else None


def is_alone() -> bool:
    """Whether no older generation than this process starts anything new; True if it is not a generation."""
    return not is_generation() or _read("alone") in ("", current_process().name)


def _read(name: str) -> str:
    with contextlib.suppress(OSError):
        return Path(os.environ.get(STATE, ""), name).read_text()
    return ""
