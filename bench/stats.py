"""The few numbers that sum up many."""

import math
import statistics
from collections.abc import Sequence

median = statistics.median


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not exceed; the largest of few."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def p99(values: Sequence[float]) -> float:
    """The value that 99 of 100 do not exceed; the largest of few."""
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]
