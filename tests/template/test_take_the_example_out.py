"""The steps in the README that take the example out leave a template that passes its checks."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.template.docker.running import copy_repository

STEPS = re.search(r"## Take the example out\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)


def run(tree: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tree,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_without_the_example_the_rest_passes_its_checks(tmp_path: Path) -> None:
    assert STEPS, "the README tells how to take the example out"
    tree = tmp_path / "tree"
    copy_repository(tree)
    for name in re.findall(r"`((?:src|migrations)/[^`]*)`", STEPS[1].partition("2. ")[0]):
        path = tree / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in sorted((tree / "tests").rglob("*.py")):
        if "sales" in str(path.relative_to(tree)):
            path.unlink()
    for name in ("src/main.py", "migrations/env.py"):
        lines = (tree / name).read_text().splitlines(keepends=True)
        (tree / name).write_text("".join(line for line in lines if "sales" not in line))

    run(tree, "ruff", "check", ".")
    run(tree, "mypy")
    generic = ("tests/unit", "tests/integration/test_health.py", "tests/integration/test_hostile_http.py")
    run(tree, "pytest", "-q", *generic)
