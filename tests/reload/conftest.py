"""A program under the supervisor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reload.program import Program


@pytest.fixture
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Program]:
    """One that is not started yet; the PROGRAM of a module is its class."""
    program: Program = getattr(request.module, "PROGRAM", Program)(tmp_path)
    yield program
    program.kill_all()


@pytest.fixture
def running(program: Program) -> Program:
    program.start()
    program.wait_for("working", 1)
    program.wait_for_log("New worker at work")
    return program
