"""Keeps one generation of a program at work and replaces it when the code changes, without a gap."""

import contextlib
import functools
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

from . import problem
from .burst import Burst, listed
from .checkpoints import Checkpoints
from .child import Child, Program
from .crashes import Crashes
from .environment import Environment
from .generation import REFUSED
from .hand_over import HandOvers
from .launcher import Launcher
from .monitor import CodeChangeMonitor
from .tree import is_python
from .wakeup import Wakeup

logger = logging.getLogger(__name__)

QUIET = 0.2
"""Seconds of work after which checkpoints are made for the next change."""

REPEATED_SIGNAL = 0.3
"""Seconds in which a second signal is the first again: Ctrl-C may come from terminal and process manager."""


class Supervisor:
    """Runs a program as generations of processes, each with the code as it was when it started.

    A change starts the next generation at once. It imports the code and says that it is ready; once the tree
    has come to rest it begins to work, and then the old one is told to stop, which finishes what it does,
    however long that takes. Code that can't be loaded never takes over: the last good generation works on. A
    generation that dies is replaced, with exponential backoff.
    """

    def __init__(
        self,
        target: str,
        watch_dirs: Sequence[Path],
        *,
        arguments: tuple[Any, ...] = (),
        check_interval: float = 2.0,
        max_restarts: int = 10,
        import_timeout: float = 30.0,
        is_code: Callable[[str], bool] = is_python,
        say_changes: Callable[[list[str]], None] | None = None,
        noun: str = "worker",
    ) -> None:
        """Prepare; `run` starts the program.

        Args:
            target: `module:function`, called in each generation with a `generation.Generation` and
                `arguments`; it is not imported here.
            watch_dirs: the folders of the code.
            arguments: passed on; must be picklable, may hold sockets.
            check_interval: seconds between two looks at the files, see `CodeChangeMonitor`.
            max_restarts: how often in a row a generation that dies is replaced.
            import_timeout: seconds that loading the code may take.
            is_code: tells by its path whether a file counts.
            say_changes: logs changed files, given their paths, in other words than the supervisor's own.
            noun: what the log calls the program.
        """
        self._roots = [os.path.realpath(each) for each in watch_dirs]
        self._program = Program(target, arguments, tuple(self._roots), import_timeout)
        self._noun = noun
        self._launcher = Launcher()
        self._checkpoints = Checkpoints(self._launcher)
        self._problem = problem.offer(self._launcher.cache)
        self._environment = Environment()
        self._say_paths = say_changes or self._say_names
        self._monitors = [
            CodeChangeMonitor(root, functools.partial(self._note_change, root), check_interval, is_code)
            for root in self._roots
        ]
        self._burst = Burst()
        self._wakeup = Wakeup()
        self._changes: SimpleQueue[list[str]] = SimpleQueue()
        self._signals: SimpleQueue[tuple[int, float]] = SimpleQueue()
        self._children: list[Child] = []
        self._candidate: Child | None = None
        self._current: Child | None = None
        self._hand_overs = HandOvers(noun)
        self._count = 0
        self._start_at: float | None = None
        self._rehearse_at: float | None = None
        self._crashes = Crashes(max_restarts)
        self._stopped_at: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Run until a signal ends it; must be called in the main thread, as the last thing a process does.

        SIGTERM and SIGINT let running work be finished, a second one kills it.

        Returns:
            The exit code: 0 after a stop, 128 + signal after a second signal, 1 after too many crashes,
            78 when the program refused to start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        try:
            for monitor in self._monitors:
                monitor.start()
            self._start_at = time.monotonic()
            self._keep_time()
            while self._children or self._stopped_at is None:
                self._wait()
                self._keep_time()
            return self._exit_code
        finally:
            for monitor in self._monitors:
                monitor.stop()
            for child in self._children:
                child.kill()
            self._checkpoints.stop()
            self._launcher.stop()

    def _note_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.put((number, time.monotonic()))
        self._wakeup.set()

    def _note_change(self, root: str, names: list[str]) -> None:
        self._changes.put([os.path.join(root, name) for name in names])
        self._wakeup.set()

    def _wait(self) -> None:
        """Wait for a signal, a change, a word from a generation, or the next thing that is due."""
        times = (self._start_at, self._burst.rest_expected, self._rehearse_at)
        due = [when for when in times if when is not None]
        due += [self._candidate.import_deadline] if self._candidate and not self._candidate.loaded else []
        timeout = max(min(due) - time.monotonic(), 0) if due else None
        connections = [child.connection for child in self._children]
        heard = wait([self._wakeup.fileno(), *self._checkpoints.announcements, *connections], timeout)
        self._wakeup.clear()
        if any(announcements in heard for announcements in self._checkpoints.announcements):
            self._checkpoints.accept()
        for child in [child for child in self._children if child.connection in heard]:
            for message in child.messages():
                self._hear(child, message)

    def _keep_time(self) -> None:
        """Take what signals and the monitor have noted, and do what is due."""
        while not self._signals.empty():
            self._stop(*self._signals.get())
        while not self._changes.empty():
            self._change(self._changes.get())
        if self._start_at is not None and time.monotonic() >= self._start_at:
            self._start()
        if self._candidate and self._candidate.hangs:
            self._reject(self._candidate, "somewhere", "the import takes too long", "")
        if self._burst.is_at_rest:
            self._say_changes()
            if self._candidate and self._candidate.ready and not self._hand_overs.coming:
                self._let_work(self._candidate)
        if self._rehearse_at is not None and time.monotonic() >= self._rehearse_at:
            self._rehearse_at = None
            self._checkpoints.rehearse(self._program)

    def _change(self, paths: list[str]) -> None:
        if self._stopped_at is not None:
            return
        self._rehearse_at = None
        self._checkpoints.note_change(paths)
        is_first = self._burst.add(paths)
        self._crashes.forgive()
        if self._candidate and self._burst.is_endless:
            return  # what is being loaded is handed over, the rest comes after it
        if self._candidate:
            self._candidate.kill()
            self._candidate = None
        at_once = is_first or self._burst.is_endless
        self._start_at = time.monotonic() if at_once else self._burst.rest_expected

    def _start(self) -> None:
        self._start_at = None
        if self._environment.packages_changed():
            logger.info("Installed packages have changed: loading them afresh")
            self._launcher.reset()
            self._checkpoints.clear()
        if self._environment.env_file_changed():
            logger.warning(".env has changed: restart the %s to load it", self._noun)
        self._burst.load()
        self._count += 1
        try:
            self._candidate = Child.start(self._launcher, self._checkpoints, self._count, self._program)
        except OSError as error:
            self._crash(f"could not be started ({error})")
        else:
            self._children.append(self._candidate)

    def _hear(self, child: Child, message: tuple[Any, ...] | None) -> None:
        match message:
            case None:
                self._gone(child)
            case ("loaded", packages, files):
                child.loaded, child.packages = True, packages
                self._checkpoints.loaded(files)
            case ("ready",):
                child.ready = True
            case ("working",):
                self._current = child
                self._hand_overs.complete(child, self._children)
                self._launcher.learn(child.packages)
                self._rehearse_at = time.monotonic() + QUIET
            case ("quiet",):
                child.quiet = True
                self._hand_overs.say_complete()
            case ("broken", place, reason, trace) if child is self._candidate:
                self._reject(child, place, reason, trace)
            case ("refused", place, _, trace) if child is self._candidate:
                self._refuse(child, place, trace)

    def _say_changes(self) -> None:
        if paths := self._burst.unsaid():
            self._say_paths(paths)
            if own := self._environment.own_files(paths):
                names = listed(self._names(own))
                logger.warning("The supervisor itself keeps the old %s until a restart", names)

    def _say_names(self, paths: list[str]) -> None:
        logger.info("Code change detected: %s", listed(self._names(paths)))

    def _names(self, paths: list[str]) -> list[str]:
        """The paths, each relative to the watched folder that it is in."""
        return [
            Path(path).relative_to(root).as_posix()
            for path in paths
            for root in self._roots
            if path.startswith(os.path.join(root, ""))
        ]

    def _reject(self, child: Child, place: str, reason: str, trace: str) -> None:
        """Broken code: whatever worked before works on."""
        self._say_changes()
        outlook = "the last good code works on" if self._current else "waiting for the next save"
        logger.error("Code can't be loaded, %s: %s: %s", outlook, place, reason)
        logger.debug("%s", trace)
        with contextlib.suppress(OSError):
            self._problem.write_text(f"{place}: {reason}")
        self._candidate = None
        child.kill()
        if self._burst.end():
            self._change([])

    def _refuse(self, child: Child, place: str, trace: str) -> None:
        """The program ended itself: so does this, unless good code is at work."""
        if self._current:
            self._reject(child, place, "it refuses to start, its own message says why", trace)
        else:
            self._exit_code = REFUSED
            self._leave()

    def _let_work(self, new: Child) -> None:
        self._problem.unlink(missing_ok=True)
        began = self._burst.began
        self._hand_overs.begin(new, began or new.started, is_change=began is not None)
        self._candidate = None
        if self._burst.end():
            self._change([])

    def _gone(self, child: Child) -> None:
        code = child.close()
        child.quiet = True
        is_needed = child in (self._candidate, self._hand_overs.coming, self._current)
        self._children.remove(child)
        self._hand_overs.forget(child)
        self._candidate = self._candidate if child is not self._candidate else None
        self._current = self._current if child is not self._current else None
        is_replaced = self._candidate or self._hand_overs.coming or self._start_at is not None
        if is_needed and not is_replaced and self._stopped_at is None:
            self._crash(_ending(code), time.monotonic() - child.went_at if child.went_at else 0)

    def _crash(self, how: str, seconds_of_work: float = 0) -> None:
        backoff = self._crashes.add(seconds_of_work)
        if backoff is not None:
            logger.error("The %s %s: starting it again in %.1f s", self._noun, how, backoff)
            self._start_at = time.monotonic() + backoff
            return
        logger.error("The %s %s, %d times in a row: giving up", self._noun, how, self._crashes.in_a_row)
        if not self._current:
            self._exit_code = 1
            self._leave()

    def _stop(self, number: int, when: float) -> None:
        if self._stopped_at is None:
            logger.info(
                "Stopping the %s: running work is finished first, a second signal ends it", self._noun
            )
            self._stopped_at = when
            self._leave()
        elif when - self._stopped_at >= REPEATED_SIGNAL:
            logger.warning("Stopping the %s at once", self._noun)
            self._exit_code = 128 + number
            for child in self._children:
                child.kill()

    def _leave(self) -> None:
        """Have every generation finish and leave, and start no more."""
        self._stopped_at = self._stopped_at or time.monotonic()
        self._start_at = None
        self._rehearse_at = None
        self._burst.end()
        for child in self._children:
            if child.went_at:
                child.stop()
            else:
                child.kill()
        self._candidate = None


def _ending(code: int | None) -> str:
    if code is None:
        return "died"
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended by itself (exit code {code})"
