"""The rooms don't grow: CONTRIBUTING.md says how many lines of Python each may have."""

import re
import subprocess

import pytest

from tests.conftest import ROOT

ROW = re.compile(r"^\| `([\w/.]+)` \|.*\| ([\d,]+) \| [\d,]+ \|$", re.MULTILINE)
BUDGETS = ROW.findall((ROOT / "CONTRIBUTING.md").read_text())


def test_every_room_has_a_budget() -> None:
    assert {room for room, _ in BUDGETS} == {"src/kit", "src/reload", "src/sales", "tools", "src", "."}


@pytest.mark.parametrize(("room", "most"), BUDGETS)
def test_no_room_grows(room: str, most: str) -> None:
    listing = subprocess.run(
        ["git", "ls-files", room], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    files = [name for name in listing if name.endswith(".py") and not name.startswith("bench/")]
    lines = sum((ROOT / name).read_bytes().count(b"\n") for name in files)
    assert lines <= int(most.replace(",", "")), "take lines away, or say in the commit why it had to grow"
