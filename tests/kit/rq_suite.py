"""The tests of RQ itself, run with `RobustWorker` in the place of RQ's `Worker`."""

import os
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from tests.kit.marked_processes import marked_processes
from tests.kit.redis_server import running_redis
from tests.kit.services import ROOT, wait_until

SITE = Path(__file__).parent / "rq_suite_site"
LONGEST_RUN = 600
"""Seconds; it takes about two minutes."""
PROCESSES = 3
"""Of pytest, each with a Redis of its own: most of RQ's slow tests only wait."""
SPARE = 3
"""Further Redis servers, for processes that take the place of those that a test ends."""


class NotAvailable(Exception):  # noqa: N818
    """RQ's tests can't be had: only its source distribution has them."""


class RqSuite:
    """The tests of the installed version of RQ, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        """Download them.

        Raises:
            NotAvailable: pip could not do it.
        """
        self._folder = folder
        wanted = f"rq=={version('rq')}"
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "rq", wanted]
        result = subprocess.run(pip, cwd=folder, capture_output=True, text=True)
        if result.returncode:
            raise NotAvailable((result.stderr.strip().splitlines() or ["pip failed"])[-1])
        (archive,) = folder.glob("rq-*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        source = folder / archive.name.removesuffix(".tar.gz")
        for name in ("tests", "pyproject.toml"):  # not the package, which is the installed one
            (source / name).rename(folder / name)

    def run(
        self,
        tests: Iterable[str] = (),
        left_out: Iterable[str] = (),
        worker: Literal["RobustWorker", "Worker"] = "RobustWorker",
        processes: int = PROCESSES,
    ) -> dict[str, bool]:
        """Run tests, by default all, and return which did not fail.

        Those that wait for their turn in a process that a test ends are missing in the result.

        Args:
            tests: such as `test_queue.py::TestQueue::test_equality`.
            left_out: those that are not run.
            worker: which class RQ's tests get for `Worker`.
            processes: how many share the tests.

        Raises:
            AssertionError: the run did not end in time; its log is in the folder.
        """
        run = self._folder / uuid.uuid4().hex
        run.mkdir()
        report = run / "report.xml"
        # With pytest-xdist, a test that ends its process has failed, and the others go on.
        options = ["-v", f"-n{processes}", "-p", "no:cacheprovider", f"--junitxml={report}"]
        options += [f"--deselect=tests/{test}" for test in left_out]
        with ExitStack() as stack:
            log = stack.enter_context((run / "log").open("wb"))
            environment = self._environment() | {"RQ_SUITE_WORKER": worker, "RQ_SUITE_RUN": run.name}
            for number in range(processes + SPARE):
                (run / f"gw{number}").mkdir()
                url = stack.enter_context(running_redis(run / f"gw{number}"))
                environment[f"RQ_SUITE_PORT_OF_GW{number}"] = url.rpartition(":")[2].partition("/")[0]
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *options, *(f"tests/{test}" for test in tests or [""])],
                cwd=self._folder, env=environment, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                # Not for its end: a failed test may leave a worker, for which multiprocessing waits.
                wait_until(
                    lambda: _is_complete(report) or process.poll(), LONGEST_RUN, f"RQ's tests, see {run}"
                )
            finally:
                for left in marked_processes("RQ_SUITE_RUN", run.name):
                    left.kill()
                process.kill()
                process.wait()
        cases = ElementTree.parse(report).iter("testcase")  # noqa: S314
        return {_test_id(case): case.find("failure") is None and case.find("error") is None for case in cases}

    def _environment(self) -> dict[str, str]:
        """The environment of RQ's tests: none of our settings, and the `rq` command on the PATH."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RQ_", "REDIS_"))}
        return kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, (SITE, self._folder, ROOT))),  # RQ's `tests` before ours
            "RUN_SLOW_TESTS_TOO": "1",
        }


def _is_complete(report: Path) -> bool:
    return report.is_file() and report.read_bytes().rstrip().endswith(b"</testsuites>")


def _test_id(case: ElementTree.Element) -> str:
    module, *classes = case.get("classname", "").removeprefix("tests.").split(".")
    return "::".join([f"{module}.py", *classes, case.get("name", "")])
