"""The lines that the tools print stay whole."""

import subprocess
import sys

from tests.conftest import ROOT

TALK = """
import sys, threading
from tools.console import say
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=lambda n=n: [say(f"{n}" * 20) for _ in range(500)]) for n in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_lines_of_threads_that_talk_at_once_stay_whole() -> None:
    done = subprocess.run(
        [sys.executable, "-u", "-c", TALK], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert sorted(done.stdout.splitlines()) == sorted(str(n) * 20 for n in range(8) for _ in range(500))
