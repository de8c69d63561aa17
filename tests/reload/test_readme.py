"""The program in src/reload/README.md does what the page says."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, wait_until
from tests.kit.processes import running
from tools.ports import free_port

WORK = """
import time

def one_piece():
    print("version {}", flush=True)
    time.sleep(0.05)
"""


def _reload(folder: Path, work: Path, *command: str, first: str, at_work: str) -> None:
    """Run a Python command, change `version 1` of its code to 2, see that at work, and stop it.

    Args:
        folder: where it runs.
        work: the file with the version.
        command: what follows `python`.
        first: the text in its log that says that it has started.
        at_work: the text that says that the new code has taken over.
    """
    log = folder / "log"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with running([sys.executable, *command], log, cwd=folder, env=environment) as process:
        wait_until(lambda: first in log.read_text(), what="the first version")
        work.write_text(work.read_text().replace("version 1", "version 2"))
        wait_until(lambda: at_work in log.read_text().partition("CODE CHANGED")[2])
        assert "version 2" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_the_program_in_the_readme_reloads(tmp_path: Path) -> None:
    readme = (ROOT / "src" / "reload" / "README.md").read_text()
    program, _ = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "app").mkdir()
    work = tmp_path / "app" / "work.py"
    work.write_text(WORK.format(1))
    _reload(tmp_path, work, "program.py", first="version 1", at_work="New worker at work")


def test_the_application_in_the_readme_says_whether_it_is_live(tmp_path: Path) -> None:
    readme = (ROOT / "src" / "reload" / "README.md").read_text()
    _, main = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r"^python -m (src.reload.live .*)$", readme, re.MULTILINE)
    (tmp_path / "app").mkdir()
    path, port, log = tmp_path / "app" / "main.py", free_port(), tmp_path / "log"
    path.write_text(main)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    serve = ["src.reload", "uvicorn", "app.main:app", "--reload", "--reload-dir", "app", "--port", str(port)]

    def live() -> tuple[int, str]:
        ask = [sys.executable, "-m", *command.replace("8000", str(port)).split()]
        done = subprocess.run(ask, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    with running([sys.executable, "-m", *serve], log, cwd=tmp_path, env=environment):
        wait_until(lambda: "Application startup complete" in log.read_text(), what="the application")
        assert live()[0] == 0
        path.write_text(main + "1 / 0\n")
        code, said = live()
        assert code == 1
        assert f"Broken: app/main.py:{len(main.splitlines()) + 1}: ZeroDivisionError" in said
        path.write_text(main + "# fixed\n")
        assert live()[0] == 0


def test_the_command_in_the_readme_runs_any_program(tmp_path: Path) -> None:
    readme = (ROOT / "src" / "reload" / "README.md").read_text()
    (command,) = re.findall(r"^python -m (src.reload .* python -m app.worker)$", readme, re.MULTILINE)
    (tmp_path / "app").mkdir()
    work, at_work = tmp_path / "app" / "worker.py", "New program at work"
    work.write_text("import signal\nprint('version 1: ready to work')\nsignal.pause()\n")
    _reload(tmp_path, work, "-m", *shlex.split(command), first=at_work, at_work=at_work)
