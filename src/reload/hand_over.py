"""The hand-over: a new generation is told to work, and once it does, the old one is told to stop."""

import logging
import time
from dataclasses import dataclass, field

from .child import Child

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class HandOver:
    """A generation that was told to work, and those that were told to stop once it did."""

    new: Child
    since: float
    is_change: bool
    old: list[Child] = field(default_factory=list)


class HandOvers:
    """All hand-overs under way: more than one when saves follow each other quickly."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._under_way: list[HandOver] = []

    @property
    def coming(self) -> Child | None:
        """The generation that was told to work and has not started yet."""
        return next((hand_over.new for hand_over in self._under_way if not hand_over.new.working), None)

    def begin(self, new: Child, since: float, *, is_change: bool) -> None:
        """Tell a generation to work.

        Args:
            new: a generation that is ready.
            since: when the change was noticed, or the generation started, for the log.
            is_change: whether the code changed.
        """
        self._under_way.append(HandOver(new, since, is_change))
        new.go()

    def complete(self, new: Child, others: list[Child]) -> None:
        """A generation has started to work: tell those before it to stop."""
        new.working = True
        for hand_over in self._under_way:
            if hand_over.new is new:
                hand_over.old = [
                    child for child in others if child.working and not child.quiet and child is not new
                ]
                for child in hand_over.old:
                    child.stop()
        self.say_complete()

    def forget(self, gone: Child) -> None:
        """A generation is gone."""
        self._under_way = [hand_over for hand_over in self._under_way if hand_over.new is not gone]
        self.say_complete()

    def say_complete(self) -> None:
        """Log the hand-overs that are complete: older code starts nothing new any more."""
        for hand_over in list(self._under_way):
            if hand_over.new.working and all(child.quiet for child in hand_over.old):
                self._under_way.remove(hand_over)
                if hand_over.is_change:
                    logger.info("CODE CHANGED - Restarting %s to load new code", self._noun)
                seconds, number = time.monotonic() - hand_over.since, hand_over.new.number
                logger.info("New %s at work after %.3f s (generation %d)", self._noun, seconds, number)
