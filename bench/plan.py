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


@dataclass(frozen=True)
class ProductionPlan:
    """Numbers of the part about production."""

    rounds: int
    """How often every server has its turn."""
    load: float
    """Seconds for which a route is loaded, in each turn."""
    small_imports: int
    """Files of 50 rows, to see how many imports a second the queue carries."""
    large_imports: int
    """Files of 10,000 rows, to see how many rows a second."""
    rows: int
    """Of the largest file."""
    answers: int
    """Answers of the summary that are timed, for each way to ask."""
    is_delivery_measured: bool
    """Whether `make dev` in a fresh clone and a change of the production stack are timed."""


@dataclass(frozen=True)
class ScalePlan:
    """Numbers of the part about larger applications."""

    sizes: tuple[int, ...]
    """Modules of the applications."""
    saves: int
    """In each place."""


SIZES = (150, 5_000, 50_000)

FULL = Plan(4, 6, 1.5, 3.0, 10.0, 15.0, 150.0, 5, SIZES, 15.0, 25)
QUICK = Plan(1, 3, 1.0, 1.5, 5.0, 1.5, 12.0, 2, SIZES, 2.0, 5)

PRODUCTION = ProductionPlan(2, 8.0, 200, 16, 1_000_000, 20, is_delivery_measured=True)
PRODUCTION_QUICK = ProductionPlan(1, 1.0, 40, 4, 100_000, 5, is_delivery_measured=False)

SCALE = ScalePlan((150, 500, 1_000, 2_000), 5)
SCALE_QUICK = ScalePlan((150, 1_000), 2)


def chosen() -> Plan:
    """The short run with QUICK=1 in the environment, else the full one."""
    return QUICK if os.environ.get("QUICK", "") not in ("", "0") else FULL


def chosen_scale() -> ScalePlan:
    """The same for the part about larger applications."""
    return SCALE_QUICK if chosen() is QUICK else SCALE


def chosen_production() -> ProductionPlan:
    """The same for the part about production."""
    return PRODUCTION_QUICK if chosen() is QUICK else PRODUCTION
