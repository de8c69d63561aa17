"""Keeps one generation of a program at work and replaces it when the code changes, without a gap."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from . import editor
from .burst import Burst
from .checkpoints import Checkpoints
from .child import Child
from .crashes import Crashes
from .environment import Environment
from .hand_over import HandOvers
from .inbox import Inbox
from .launcher import Launcher
from .protocol import AT_ONCE, NAME_PREFIX, REFUSED, REPEATED_SIGNAL, Order
from .report import Report
from .tree import is_source

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs a program as generations of processes, each with the code as it was when the process started.

    A change starts the next generation at once. It imports the code and says that it is ready; once the tree
    has come to rest, it begins to work. Then the old one is told to stop, and finishes what it does. Code
    that can't be loaded never takes over: the last good generation keeps working. One that dies is replaced.
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
        is_code: Callable[[str], bool] = is_source,
        say_changes: Callable[[list[str]], None] | None = None,
        on_problem: Callable[[str, str], None] | None = None,
        noun: str = "worker",
        cleans_up: bool = False,
    ) -> None:
        """Prepare; `run` starts the program.

        Args:
            target: `module:function`, called in each generation with a `generation.Generation` and
                `arguments`; it is not imported here.
            watch_dirs: the folders of the code.
            arguments: for `target`; must be picklable, may contain sockets.
            check_interval: seconds between two scans of the files, see `CodeChangeMonitor`.
            max_restarts: how many times in a row a generation that dies is replaced.
            import_timeout: seconds that loading the code may take.
            is_code: whether the file at a path counts as source, see `tree.scan`.
            say_changes: logs the paths of changed files in words of the caller's own.
            on_problem: called in a thread when code can't be loaded, with the fingerprint of the first folder
                and the reason with file and line; with two empty texts once it can.
            noun: what the log calls the program.
            cleans_up: whether to end it with SIGTERM and `AT_ONCE`, not SIGKILL: it has processes of its own.
        """
        roots = tuple(os.path.realpath(each) for each in watch_dirs)
        self._noun = noun
        self._launcher = Launcher()
        self._order = Order(target, arguments, roots, import_timeout, self._launcher.cache, cleans_up)
        self._checkpoints = Checkpoints(self._launcher)
        self._environment = Environment()
        self._report = Report(roots, self._launcher.cache, say_changes, on_problem)
        self._inbox = Inbox(roots, check_interval, is_code, self._change, self._stop)
        self._burst = Burst()
        self._children: list[Child] = []
        self._candidate: Child | None = None
        self._current: Child | None = None
        self._hand_overs = HandOvers(noun, self._report)
        self._count = self._exit_code = 0
        self._start_at: float | None = None
        self._crashes = Crashes(noun, max_restarts)
        self._stopped_at: float | None = None

    def run(self) -> int:
        """Run until a signal ends it; must be called in the main thread, as the last thing a process does.

        SIGTERM and SIGINT let running work finish, a second one kills it.

        Returns:
            The exit code: 0 after a stop, 128 + signal after a second signal, 1 after too many crashes,
            78 when the program refused to start.
        """
        try:
            editor.start_adapter(self._noun)
            self._inbox.open()
            self._start_at = time.monotonic()
            self._keep_time()
            while self._children or self._stopped_at is None:
                self._wait()
                self._keep_time()
            return self._exit_code
        finally:
            self._inbox.close()
            for child in self._children:
                child.kill()
            self._checkpoints.stop()
            self._launcher.stop()

    def _wait(self) -> None:
        """Wait for a signal, a change, a message from a generation, or the next thing that is due."""
        hangs_at = self._candidate.hangs_at if self._candidate else None
        times = (self._start_at, self._burst.rest_expected, self._checkpoints.rehearse_at, hangs_at)
        due = [self._environment.look_at, *(when for when in times if when is not None)]
        timeout = max(min(due) - time.monotonic(), 0)
        connections = [child.connection for child in self._children]
        heard = wait([self._inbox.fileno(), *self._checkpoints.announcements, *connections], timeout)
        if any(announcements in heard for announcements in self._checkpoints.announcements):
            self._checkpoints.accept()
        for child in [child for child in self._children if child.connection in heard]:
            for message in child.messages():
                self._hear(child, message)

    def _keep_time(self) -> None:
        """Take what is in the inbox, and do what is due."""
        self._inbox.take()
        if _is_due(self._environment.look_at) and (changed := self._environment.look()):
            self._change(changed)
        if _is_due(self._start_at):
            self._start()
        if self._candidate and _is_due(self._candidate.hangs_at):
            self._reject(self._candidate, "somewhere", "the import takes too long", "", [""])
        if self._burst.is_at_rest:
            self._report.changes(self._burst.unsaid())
            if self._candidate and self._candidate.ready and not self._hand_overs.coming:
                self._report.good()
                self._hand_overs.begin(self._candidate, self._burst.began)
                self._end_burst()
        if _is_due(self._checkpoints.rehearse_at):
            self._checkpoints.rehearse(f"{NAME_PREFIX}{self._count + 1}", self._order)

    def _change(self, paths: list[str]) -> None:
        if self._stopped_at is not None:
            return
        self._checkpoints.note_change(paths)
        is_first = self._burst.add(paths)
        self._crashes.forgive()
        if self._candidate:
            if self._burst.is_endless:
                return  # what is being loaded takes over first, the rest comes after it
            self._candidate.kill()
            self._candidate = None
        at_once = is_first or self._burst.is_endless
        self._start_at = time.monotonic() if at_once else self._burst.rest_expected

    def _start(self) -> None:
        self._start_at = None
        if self._environment.check():
            self._launcher.reset()
            self._checkpoints.clear()
        self._burst.load()
        self._count += 1
        try:
            self._candidate = Child.start(self._launcher, self._checkpoints, self._count, self._order)
            self._children.append(self._candidate)
        except OSError as error:
            self._crash(f"could not be started ({error})")

    def _hear(self, child: Child, message: tuple[Any, ...] | None) -> None:
        match message:
            case None:
                self._gone(child)
            case ("loaded", packages, files):
                child.hangs_at, child.packages = None, packages
                self._checkpoints.loaded(files)
            case ("ready",):
                child.ready = True
            case ("working",):
                self._current = child
                self._hand_overs.complete(child, self._children)
                self._launcher.learn(child.packages)
                self._checkpoints.rehearse_soon()
            case ("quiet",):
                child.quiet = True
                self._hand_overs.say_complete()
            case ("broken", place, reason, trace, codes) if child is self._candidate:
                self._reject(child, place, reason, trace, codes)
            case ("refused", place, _, trace, codes) if child is self._candidate:
                if self._current:
                    self._reject(child, place, "it refuses to start, its own message says why", trace, codes)
                else:
                    self._leave(REFUSED)

    def _reject(self, child: Child, place: str, reason: str, trace: str, codes: list[str]) -> None:
        """Broken code: whatever worked before keeps working."""
        self._report.changes(self._burst.unsaid())
        self._report.broken(place, reason, trace, codes, is_working=self._current is not None)
        child.kill()
        self._end_burst()

    def _end_burst(self) -> None:
        """The candidate has been decided on; what changed meanwhile needs the next one."""
        self._candidate = None
        if self._burst.end():
            self._change([])

    def _gone(self, child: Child) -> None:
        ending = child.close()
        child.quiet = True
        is_needed = child in (self._candidate, self._hand_overs.coming, self._current)
        self._children.remove(child)
        self._hand_overs.forget(child)
        self._candidate = self._candidate if child is not self._candidate else None
        self._current = self._current if child is not self._current else None
        is_replaced = self._candidate or self._hand_overs.coming or self._start_at is not None
        if is_needed and not is_replaced and self._stopped_at is None:
            self._crash(ending, time.monotonic() - child.went_at if child.went_at else 0)

    def _crash(self, how: str, seconds_of_work: float = 0) -> None:
        backoff = self._crashes.add(how, seconds_of_work)
        if backoff is not None:
            self._start_at = time.monotonic() + backoff
        elif not self._current:
            self._leave(1)

    def _stop(self, number: int, when: float) -> None:
        if self._stopped_at is None:
            logger.info("Stopping the %s: running work is finished first, another signal ends it", self._noun)
            self._stopped_at = when
            self._leave()
        elif when - self._stopped_at >= REPEATED_SIGNAL:
            logger.warning("Stopping the %s at once", self._noun)
            self._exit_code = 128 + number
            for child in self._children:
                child.kill(AT_ONCE)

    def _leave(self, exit_code: int = 0) -> None:
        """Let every generation finish and exit, and start no more."""
        self._exit_code = exit_code
        self._stopped_at = self._stopped_at or time.monotonic()
        self._start_at = None
        self._checkpoints.clear()
        self._burst.end()
        for child in self._children:
            child.stop(is_last=True)
        self._candidate = None


def _is_due(when: float | None) -> bool:
    return when is not None and time.monotonic() >= when
