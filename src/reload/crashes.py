"""How many times in a row a generation has died, and how long to wait before the next one."""

HEALTHY_AFTER = 10.0
"""Seconds of work after which a crash counts as the first in a row again."""

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 10.0


class Crashes:
    """Counts crashes in a row."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self.in_a_row = 0

    def forgive(self) -> None:
        """Start counting from zero: the code has changed."""
        self.in_a_row = 0

    def add(self, seconds_of_work: float) -> float | None:
        """Count one.

        Args:
            seconds_of_work: how long the generation had worked.

        Returns:
            Seconds to wait before the next one starts; None when it is time to give up.
        """
        self.in_a_row = 1 if seconds_of_work >= HEALTHY_AFTER else self.in_a_row + 1
        if self.in_a_row > self._at_most:
            return None
        return float(min(FIRST_BACKOFF * 2 ** (self.in_a_row - 1), LONGEST_BACKOFF))
