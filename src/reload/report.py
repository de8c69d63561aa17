"""What the supervisor tells people: which files have changed, and why code can't be loaded."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

NAMES_SHOWN = 5

PROBLEM_FILE = "RELOAD_PROBLEM_FILE"
"""The environment variable through which generations find the reason why newer code does not run."""


class Report:
    """Reports on the code of one program."""

    def __init__(
        self, roots: Sequence[str], folder: str, say_changes: Callable[[list[str]], None] | None
    ) -> None:
        """Prepare; the reason why newer code does not run will be in a file in `folder`."""
        self._roots = roots
        self._problem = Path(folder, "problem")
        os.environ[PROBLEM_FILE] = str(self._problem)
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

    def broken(self, place: str, reason: str, trace: str, *, is_working: bool) -> None:
        """Log that the code can't be loaded, and whether earlier code is at work."""
        outlook = "the last good code keeps working" if is_working else "waiting for the next save"
        logger.error("Code can't be loaded, %s: %s: %s", outlook, place, reason)
        logger.debug("%s", trace)
        with contextlib.suppress(OSError):
            self._problem.write_text(f"{place}: {reason}")

    def good(self) -> None:
        """Note that the code can be loaded."""
        self._problem.unlink(missing_ok=True)

    def _names(self, paths: list[str]) -> str:
        """The first few paths, each relative to the watched folder that it is in."""
        names = [
            Path(path).relative_to(root).as_posix()
            for path in paths
            for root in self._roots
            if path.startswith(os.path.join(root, ""))
        ]
        shown = ", ".join(names[:NAMES_SHOWN])
        return f"{shown} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else shown


def current_problem() -> str | None:
    """File, line and reason why newer code could not be loaded; None if there is no such problem."""
    with contextlib.suppress(OSError):
        return Path(os.environ.get(PROBLEM_FILE, "")).read_text() or None
    return None
