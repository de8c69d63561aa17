"""200 saves in a minute on the native development stack, with requests and jobs flowing all the time."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.template import storm_feature
from tests.template.docker.running import copy_repository
from tests.template.storm import Storm, Usage
from tests.template.storm_claims import Claims
from tests.tools.test_native_stack import Stack

pytestmark = pytest.mark.slow

AT_REST = 2 + 2 * 4
"""Runner and Redis; of worker and API each a supervisor, resource tracker, fork server and generation."""


def usage(stack: Stack) -> Usage:
    """What the processes of a stack take; those that have ended and were not waited for count, too."""
    supervisors = [stack.child("src.rq_worker"), stack.child("src.reload")]
    return Usage(
        processes=len(psutil.Process(stack.make.pid).children(recursive=True)),
        descriptors=sum(each.num_fds() for each in supervisors),
        memory=sum(each.memory_info().rss for each in supervisors),
    )


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """A storm that has blown over the stack."""
    folder = tmp_path_factory.mktemp("storm") / "tree"
    copy_repository(folder)
    if Path(sys.prefix).resolve() == (ROOT / ".venv").resolve():
        (folder / ".venv").symlink_to(ROOT / ".venv")  # else the stack makes one, which takes its time
    storm_feature.add_to(folder)
    stack = Stack(folder, folder.parent / "log", "dev")
    try:
        stack.wait_until_ready()
        storm = Storm(folder, stack.port, lambda: usage(stack), AT_REST)
        storm.run()
        yield storm
    finally:
        if stack.make.poll() is None:
            os.killpg(stack.make.pid, signal.SIGINT)
            stack.make.wait(90)


class TestStorm(Claims):
    """The claims, on the native stack."""
