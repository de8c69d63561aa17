"""How many times in a row a generation has died, and how long to wait before the next one."""

import logging

logger = logging.getLogger(__name__)

HEALTHY_AFTER = 10.0
"""Seconds of work after which a crash counts as the first in a row again."""

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0


class Crashes:
    """Counts crashes in a row, and logs them."""

    def __init__(self, noun: str, at_most: int) -> None:
        self._noun = noun
        self._at_most = at_most
        self._in_a_row = 0

    def forgive(self) -> None:
        """Start counting from zero: the code has changed."""
        self._in_a_row = 0

    def add(self, how: str, seconds_of_work: float) -> float | None:
        """Count one.

        Args:
            how: what happened, for the log.
            seconds_of_work: how long the generation had worked.

        Returns:
            Seconds to wait before the next one starts; None when it is time to give up.
        """
        self._in_a_row = 1 if seconds_of_work >= HEALTHY_AFTER else self._in_a_row + 1
        if self._in_a_row > self._at_most:
            logger.error("The %s %s, %d times in a row: giving up", self._noun, how, self._in_a_row)
            return None
        backoff = float(min(FIRST_BACKOFF * 2 ** (self._in_a_row - 1), LONGEST_BACKOFF))
        logger.error("The %s %s: starting it again in %.1f s", self._noun, how, backoff)
        return backoff
