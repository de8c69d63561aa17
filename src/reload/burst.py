"""Changes that belong together: those of one save, or of one `git checkout`."""

import time

SETTLE = 0.05
"""Seconds without a change after which the tree counts as at rest."""

LONGEST = 5.0
"""Seconds after which changes are loaded even though they keep coming."""


class Burst:
    """Collects changes from the first one until the code with them is at work, or turns out to be broken."""

    def __init__(self) -> None:
        self.began: float | None = None
        """When the first change was noticed; None between bursts."""
        self._last = 0.0
        self._unsaid: dict[str, None] = {}
        self._came_after_load = False

    def add(self, names: list[str]) -> bool:
        """Note changed files; returns whether they start a burst."""
        is_first = self.began is None
        self._last = time.monotonic()
        self.began = self.began or self._last
        self._unsaid.update(dict.fromkeys(names))
        self._came_after_load = True
        return is_first

    @property
    def is_endless(self) -> bool:
        """Whether the tree has been changing for too long to wait for its rest."""
        return self.began is not None and time.monotonic() - self.began >= LONGEST

    @property
    def rest_expected(self) -> float | None:
        """When the tree will be at rest unless more changes come; None if it is, or if nothing changed."""
        if self.began is None or self.is_at_rest:
            return None
        return min(self._last + SETTLE, self.began + LONGEST)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing has changed for a moment."""
        return time.monotonic() >= self._last + SETTLE or self.is_endless

    def load(self) -> None:
        """Note that a generation starts to load the code."""
        self._came_after_load = False

    def end(self) -> bool:
        """The loaded code is at work, or broken; returns whether there were changes after loading began."""
        self.began = None
        return self._came_after_load

    def unsaid(self) -> list[str]:
        """The names that have not been returned before."""
        names, self._unsaid = list(self._unsaid), {}
        return names
