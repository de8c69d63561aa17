"""The program in src/reload/README.md does what the page says."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, wait_until
from tools.ports import free_port

WORK = """
import time

def one_piece():
    print("version {}", flush=True)
    time.sleep(0.05)
"""


def test_the_program_in_the_readme_reloads(tmp_path: Path) -> None:
    readme = (ROOT / "src" / "reload" / "README.md").read_text()
    program, _ = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
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


def test_the_application_in_the_readme_says_whether_it_is_live(tmp_path: Path) -> None:
    readme = (ROOT / "src" / "reload" / "README.md").read_text()
    _, main = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    (command,) = re.findall(r"^python -m (src.reload.live .*)$", readme, re.MULTILINE)
    (tmp_path / "app").mkdir()
    path, port, log = tmp_path / "app" / "main.py", free_port(), tmp_path / "log"
    path.write_text(main)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    serve = ["src.reload", "uvicorn", "app.main:app", "--reload", "--reload-dir", "app", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *serve], cwd=tmp_path, env=environment, stdout=output, stderr=output
        )

    def live() -> tuple[int, str]:
        ask = [sys.executable, "-m", *command.replace("8000", str(port)).split()]
        done = subprocess.run(ask, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    try:
        wait_until(lambda: "Application startup complete" in log.read_text(), what="the application")
        assert live()[0] == 0
        path.write_text(main + "1 / 0\n")
        code, said = live()
        assert code == 1
        assert f"Broken: app/main.py:{len(main.splitlines()) + 1}: ZeroDivisionError" in said
        path.write_text(main + "# fixed\n")
        assert live()[0] == 0
    finally:
        process.terminate()
        process.wait(15)
