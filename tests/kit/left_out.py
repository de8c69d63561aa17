"""A pytest plugin that reports how many tests a run left out, and why, to the `make` that started it."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

MARKS = {"e2e": "on Docker (make test-all runs them)", "slow": "slow (make test-all runs them)"}
"""Why `make test` leaves out the tests with a mark."""

_deselected = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Start counting."""
    config.stash[_deselected] = Counter()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what `-m` left out; what `-k` left out was not asked for."""
    for item in items:
        mark = next((mark for mark in MARKS if item.get_closest_marker(mark)), None)
        if mark:
            item.config.stash[_deselected][MARKS[mark]] += 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts from a process of pytest-xdist: each of them has collected all tests."""
    if counts := getattr(node, "workeroutput", {}).get("deselected"):
        node.config.stash[_deselected] = Counter(counts)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report, or hand the counts to the process that will."""
    config = session.config
    counts = config.stash[_deselected]
    if hasattr(config, "workeroutput"):
        config.workeroutput["deselected"] = dict(counts)
    elif path := os.environ.get("LEFT_OUT_REPORT"):
        terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
        reasons = [report.longrepr[2] for report in terminal.stats.get("skipped", [])]
        skipped = Counter(reason.removeprefix("Skipped: ") for reason in reasons)
        Path(path).write_text(json.dumps({"deselected": counts, "skipped": skipped}))
