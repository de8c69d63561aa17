"""A process that is forked while another thread logs, as a job is, can log too."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

PROGRAM = """
import logging, os, signal, sys, threading
from pathlib import Path
from src.kit.log import configure_logging
from src.settings import Settings

configure_logging(Settings(log_dir=Path(sys.argv[1])), role="rqworker")
logger = logging.getLogger("src.test")

def talk():
    while True:
        logger.info("talking")

threading.Thread(target=talk, daemon=True).start()
for number in range(100):
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        logger.info("forked")
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        sys.exit(f"fork {number} never came back from logging")
"""


def test_a_fork_while_another_thread_logs_can_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "logs")]
    ended = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "logs" / "rqworker.log").read_text().count("forked") == 100
