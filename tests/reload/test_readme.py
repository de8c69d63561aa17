"""The program in src/reload/README.md does what the page says."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, wait_until

WORK = """
import time

def one_piece():
    print("version {}", flush=True)
    time.sleep(0.05)
"""


def test_the_program_in_the_readme_reloads(tmp_path: Path) -> None:
    readme = (ROOT / "src" / "reload" / "README.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "app").mkdir()
    work, log = tmp_path / "app" / "work.py", tmp_path / "log"
    work.write_text(WORK.format(1))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: "version 1" in log.read_text(), what="the first version")
        work.write_text(WORK.format(2))
        wait_until(lambda: "New worker at work" in log.read_text().partition("CODE CHANGED")[2])
        assert "version 2" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait()
