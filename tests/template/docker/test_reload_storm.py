"""200 saves in a minute on the development stack on Docker, with requests and jobs flowing all the time."""

import json

import pytest

from tests.template import storm_feature
from tests.template.docker.running import Running
from tests.template.storm import Storm, Usage
from tests.template.storm_claims import Claims

READY = "Ready.\n  Page"

AT_REST = 1 + 2 * 4
"""The worker's init; of worker and API each a supervisor, resource tracker, fork server and generation."""

LOOK = """
import json, os, pathlib
supervisors, processes = [], 0
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        command = (folder / "cmdline").read_bytes().split(b"\\0")
        supervisor = b"-m" in command and {b"src.rq_worker", b"src.reload"} & {*command}
        if int(folder.name) != os.getpid():
            processes += 1
        if supervisor and command[0].endswith(b"python"):
            resident = (folder / "statm").read_text().split()[1]
            supervisors.append((len(os.listdir(folder / "fd")), int(resident) * os.sysconf("SC_PAGE_SIZE")))
    except (FileNotFoundError, ProcessLookupError):
        continue
(supervisor,) = supervisors
print(json.dumps([processes, *supervisor]))
"""
"""Run in a container: what its processes take; those that have ended and were not waited for count, too."""


def usage(running: Running) -> Usage:
    """What the processes of worker and API take."""
    services = ("rqworker", "fastapi")
    found = [json.loads(running.compose("exec", "-T", each, "python", "-c", LOOK)) for each in services]
    return Usage(*map(sum, zip(*found, strict=True)))


@pytest.fixture(scope="module")
def storm(clone: Running) -> Storm:
    """A storm that has blown over the stack."""
    storm_feature.add_to(clone.folder)
    clone.start("dev")
    clone.wait_for_line(READY, 240)
    storm = Storm(clone.folder, clone.port, lambda: usage(clone), AT_REST)
    storm.run()
    return storm


class TestStorm(Claims):
    """The claims, on Docker."""
