"""The fingerprint of the code: equal for the same tree, different after any change."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.reload import fingerprint
from tests.conftest import ROOT
from tests.reload.program import Program

SAVER = """
import os, signal
from pathlib import Path
from pkg.version import VERSION
from src.reload import fingerprint, loaded_fingerprint

HERE = Path(__file__).parent
codes = [fingerprint(HERE)]
if VERSION == 1:
    os.kill(os.getppid(), signal.SIGSTOP)  # the supervisor would end this process because of the next line
    (HERE / "version.py").write_text("VERSION = 2")
codes += [loaded_fingerprint(HERE), fingerprint(HERE)]
with open("codes", "a") as file:
    print(*codes, file=file)
if VERSION == 1:
    os.kill(os.getppid(), signal.SIGCONT)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "main.py").write_text("A = 1\n")
    (tmp_path / "package" / "part.py").write_text("B = 1\n")
    return tmp_path


def test_every_process_finds_the_same(tree: Path) -> None:
    program = "import pathlib, sys, src.reload; print(src.reload.fingerprint(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", program, str(tree)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == fingerprint(tree)
    assert len(fingerprint(tree)) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "main.py").write_text("A = 2\n"),
        lambda tree: (tree / "main.py").rename(tree / "main2.py"),
        lambda tree: (tree / "main.py").unlink(),
        lambda tree: (tree / "new.py").touch(),
        lambda tree: (tree / "package" / "part.py").write_text("B = 1\n\n"),
    ],
)
def test_any_change_of_code_changes_it(tree: Path, change: object) -> None:
    before = fingerprint(tree)
    change(tree)  # type: ignore[operator]
    assert fingerprint(tree) != before


def test_what_is_not_code_does_not_count(tree: Path) -> None:
    before = fingerprint(tree)
    (tree / "main.py").touch()
    (tree / "data.log").touch()
    for name in ("__pycache__", ".git", ".venv", "node_modules"):
        (tree / name).mkdir()
        (tree / name / "module.py").touch()
    assert fingerprint(tree) == before


def test_what_was_saved_after_its_import_does_not_count_as_loaded(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.save("saver.py", SAVER)
    program.save("main.py", "import pkg.saver\n" + (tmp_path / "pkg" / "main.py").read_text())
    program.start()
    program.wait_for("working", 2)
    program.kill_all()
    codes = [line.split() for line in (tmp_path / "codes").read_text().splitlines()]
    before, loaded, on_disk = codes[0]
    assert loaded == before != on_disk
    assert set(codes[-1]) == {on_disk}
