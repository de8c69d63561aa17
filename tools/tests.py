"""Runs pytest for the Makefile, and says in one line at the end what was left out, and why."""

import json
import os
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from tools import project, runtime, venv
from tools.console import arguments, say

_NOTHING_FOUND = 5
"""pytest's exit code when it selected no test."""


def run(*selections: str) -> int:
    """Run pytest once for each selection, and return its exit code, the first that is not 0.

    The variable ARGS holds further arguments for pytest, such as `-k name`.

    Args:
        selections: expressions of marks, as `-m` takes them; the tests on Docker (`e2e`) run one at a time.
    """
    runtime.refuse_windows("The tests", "open the clone in its dev container (.devcontainer)")
    given = arguments()
    os.environ.pop("ARGS", None)  # not for the commands that the tests run
    python = venv.ensure()
    codes, left_out = [], Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "left-out.json")
        for selection in selections:
            command = [str(python), "-m", "pytest", "-m", selection]
            if selection != "e2e":
                command += ["-n", str((os.cpu_count() or 1) + 1), "--dist", "loadfile"]
            environment = os.environ | {"LEFT_OUT_REPORT": str(report)}
            done = subprocess.run([*command, *given], cwd=project.ROOT, env=environment, check=False)
            codes.append(done.returncode)
            if report.exists():
                counts = json.loads(report.read_text("utf-8"))
                left_out.update(counts["skipped"])
                report.unlink()
                if len(selections) == 1:
                    left_out.update(counts["deselected"])
    told = "; ".join(f"{count} test{'s' * (count > 1)}, {reason}" for reason, count in left_out.most_common())
    say(f"Left out: {told or 'nothing'}.")
    if set(codes) == {_NOTHING_FOUND}:
        return _NOTHING_FOUND
    return next((code for code in codes if code not in (0, _NOTHING_FOUND)), 0)
