"""The hand-overs of a worker, as its log tells them."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple


class HandOver(NamedTuple):
    """A hand-over of the worker, as it was logged, in the worker's clock, which the jobs use, too."""

    at: float
    noticed: float
    generation: int


def read_hand_overs(log: Path, offset: float) -> list[HandOver]:
    """The hand-overs in a log of the worker.

    Args:
        log: with the lines of its supervisor and of all generations.
        offset: seconds between the log's clock and that of the jobs.
    """
    found, changed = [], 0.0
    for line in log.read_text("utf-8").splitlines():
        new = re.search(r"New worker at work after (\S+) s \(generation (\d+)\)", line)
        if "CODE CHANGED - Restarting worker to load new code" in line:
            changed = _logged_at(line, offset)
        elif changed and new:
            found.append(HandOver(changed, _logged_at(line, offset) - float(new[1]), int(new[2])))
            changed = 0.0
    return found


def _logged_at(line: str, offset: float) -> float:
    """When a line was logged, cut to milliseconds."""
    local = datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").replace(tzinfo=UTC)
    return local.timestamp() - offset
