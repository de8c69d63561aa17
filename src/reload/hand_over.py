"""The hand-over: a new generation is told to work, and once it does, the old one is told to stop."""

import logging
import time

from .child import Child
from .report import Report

logger = logging.getLogger(__name__)


class HandOvers:
    """The hand-overs under way: more than one when saves follow each other quickly."""

    def __init__(self, noun: str, report: Report) -> None:
        self._noun = noun
        self._report = report
        self._under_way: dict[Child, list[Child]] = {}
        """By the new generation, those that were told to stop when it started to work."""

    @property
    def coming(self) -> Child | None:
        """The generation that was told to work and has not started yet."""
        return next((new for new in self._under_way if not new.working), None)

    def begin(self, new: Child, changed_at: float | None) -> None:
        """Tell a generation that is ready to work; `changed_at` is when the change was noticed, if any."""
        new.changed_at = changed_at
        self._under_way[new] = []
        new.go()

    def complete(self, new: Child, others: list[Child]) -> None:
        """A generation has started to work: tell those before it to stop."""
        new.working = True
        old = [child for child in others if child.working and not child.quiet and child is not new]
        self._under_way[new] = old
        for child in old:
            child.stop()
        self.say_complete()

    def forget(self, gone: Child) -> None:
        """A generation is gone."""
        self._under_way.pop(gone, None)
        self.say_complete()

    def say_complete(self) -> None:
        """Log the hand-overs that are complete: older code starts nothing new any more."""
        for new, old in list(self._under_way.items()):
            if new.working and all(child.quiet for child in old):
                del self._under_way[new]
                self._report.alone(new.number)
                if new.changed_at:
                    logger.info("CODE CHANGED - Restarting %s to load new code", self._noun)
                seconds = time.monotonic() - (new.changed_at or new.started)
                logger.info("New %s at work after %.3f s (generation %d)", self._noun, seconds, new.number)
