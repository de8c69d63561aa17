"""How much is measured."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Numbers of one run; times in seconds."""

    rounds: int
    """How often every peer has its turn: what disturbs the machine for a while then hits all of them."""
    saves: int
    """Saves in one turn."""
    rest: float
    """Between two saves; a little more each time, so that no poller is always hit at the same moment."""
    settle: float
    """Between the first sign of life and the first save."""
    patience: float
    """After which a save counts as never taken."""
    idle: float
    """For which CPU time is counted, at least."""
    longest_idle: float
    """For which it is counted at most, to see a watcher look at its files that looks seldom."""
    notices: int
    """Saves by which the time is measured until a watcher notices one."""
    sizes: tuple[int, ...]
    """Files in the watched trees."""
    throughput: float
    """For which jobs are run one after the other."""
    starts: int
    """Jobs that are enqueued one by one, each when the worker has nothing to do."""


SIZES = (150, 5_000, 50_000)

FULL = Plan(4, 6, 1.5, 3.0, 10.0, 15.0, 150.0, 5, SIZES, 15.0, 25)
QUICK = Plan(1, 3, 1.0, 1.5, 5.0, 1.5, 12.0, 2, SIZES, 2.0, 5)


def chosen() -> Plan:
    """The short run with QUICK=1 in the environment, else the full one."""
    return QUICK if os.environ.get("QUICK", "") not in ("", "0") else FULL
