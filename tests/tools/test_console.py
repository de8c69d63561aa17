"""The lines that the tools print stay whole, and ARGS that can't be read get a sentence."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("command", ["live", "test"])
def test_args_that_no_shell_could_split_get_a_sentence(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools", command], cwd=ROOT, env=os.environ | {"ARGS": "-k 'open"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ARGS can't be read (No closing quotation): -k 'open\n"
