"""The tests of a package that this repository builds on, run with our classes instead of its own."""

import fcntl
import os
import subprocess
import sys
import tarfile
import uuid
import venv
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from tests.kit.processes import marked_processes, start
from tests.kit.services import ROOT, wait_until

LONGEST_RUN = 600
"""Seconds; RQ's tests take about two minutes."""

OWN_SETTINGS = ("RQ_", "REDIS_", "UVICORN_", "GUNICORN_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS")
"""How the names of variables begin that a test would not expect."""


class NotAvailable(Exception):  # noqa: N818
    """The tests, or what they import, can't be had: only a package index has them."""


class UpstreamSuite:
    """The tests of the installed version of a package, in a folder of their own."""

    def __init__(
        self, folder: Path, package: str, site: Path, needs: Collection[str] = (), options: Iterable[str] = ()
    ) -> None:
        """Download them.

        Args:
            folder: an empty one.
            package: its name.
            site: the folder of a `sitecustomize.py` that replaces the classes which SUITE_CLASSES names.
            needs: what the tests import and this environment does not have.
            options: of pytest.

        Raises:
            NotAvailable: pip could not do it.
        """
        self._folder = folder
        self._options = ["-v", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", *options]
        self._paths = [site, folder, ROOT]  # its `tests` before ours
        wanted = f"{package}=={version(package)}"
        _pip("download", "-q", "--no-deps", "--no-binary", package, "-d", str(folder), wanted)
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        source = folder / archive.name.removesuffix(".tar.gz")
        for name in ("tests", "pyproject.toml"):  # not the package, which is the installed one
            (source / name).rename(folder / name)
        if needs:
            venv.create(folder / "venv", symlinks=True)
            (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
            (packages / "others.pth").write_text(
                "\n".join(path for path in sys.path if "site-packages" in path)
            )
            _pip("--python", str(folder / "venv" / "bin" / "python"), "install", "-q", *needs)
            self._paths.append(packages)

    def assert_only_listed_fail(
        self,
        classes: str,
        listed: Collection[str],
        left_out: Iterable[str] = (),
        own: str = "",
        processes: int = 3,
    ) -> None:
        """Fail if a test that is not listed fails with our classes only, or a listed one passes.

        Args:
            classes: ours, see `run`.
            listed: the tests that differ.
            left_out: those that are not run.
            own: the package's own classes, under the same conditions.
            processes: how many share the tests.
        """
        results = self.run(listed, (), classes, processes) if listed else {}
        passed = results.keys() - _failed(results)
        assert not passed, "pass: take them off the list of differences"
        failed = _failed(self.run((), [*listed, *left_out], classes, processes))
        for _ in range(2):  # some depend on how busy the machine is
            failed = failed and _failed(self.run(failed, classes=classes))
        if failed:  # and some on the machine: they fail with the package's own classes, too
            failed -= _failed(self.run(failed, classes=own))
        assert failed == set(), f"fail with our classes only; the logs are in {self._folder}"

    def run(
        self,
        tests: Iterable[str] = (),
        left_out: Iterable[str] = (),
        classes: str = "",
        processes: int = 1,
    ) -> dict[str, bool]:
        """Run tests, by default all, and return which did not fail.

        Those that wait for their turn in a process that a test ends are missing in the result.

        Args:
            tests: such as `test_queue.py::TestQueue::test_equality`.
            left_out: those that are not run, or the beginnings of their names.
            classes: which replace the package's own, by default none.
            processes: how many share the tests.

        Raises:
            AssertionError: the run did not end in time; its log is in the folder.
        """
        run = self._folder / uuid.uuid4().hex
        run.mkdir()
        report = run / "report.xml"
        # With pytest-xdist, a test that ends its process has failed, and the others go on.
        options = [*self._options, f"-n{processes}", f"--junitxml={report}"]
        options += [f"--deselect=tests/{test}" for test in left_out]
        mark = {"SUITE_RUN": run.name, "SUITE_CLASSES": classes}
        with (
            self.environment(run, processes) as environment,
            Path(__file__).open("rb") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)  # one run at a time: these tests wait for fixed times
            command = [sys.executable, "-m", "pytest", *options, *(f"tests/{test}" for test in tests or [""])]
            process = start(command, run / "log", cwd=self._folder, env=environment | mark)
            try:
                # Not for its end: a failed test may leave a process, for which multiprocessing waits.
                wait_until(
                    lambda: _is_complete(report) or process.poll(), LONGEST_RUN, f"the tests, see {run}"
                )
            finally:
                for left in marked_processes("SUITE_RUN", run.name):
                    left.kill()
                process.kill()
                process.wait()
        cases = ElementTree.parse(report).iter("testcase")  # noqa: S314
        return {_test_id(case): case.find("failure") is None and case.find("error") is None for case in cases}

    @contextmanager
    def environment(self, run: Path, processes: int) -> Iterator[dict[str, str]]:  # noqa: ARG002
        """The environment variables of the tests: none of our settings, and our programs on the PATH.

        Args:
            run: the folder of one run.
            processes: how many share the tests.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN_SETTINGS)}
        yield kept | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(map(str, self._paths)),
        }


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NotAvailable((done.stderr.strip().splitlines() or ["pip failed"])[-1])


def _is_complete(report: Path) -> bool:
    return report.is_file() and report.read_bytes().rstrip().endswith(b"</testsuites>")


def _failed(results: dict[str, bool]) -> set[str]:
    return {test for test, passed in results.items() if not passed}


def _test_id(case: ElementTree.Element) -> str:
    path = case.get("file", "").removeprefix("tests/")
    classes = case.get("classname", "").removeprefix(f"tests.{path[:-3].replace('/', '.')}").split(".")
    return "::".join([path, *filter(None, classes), case.get("name", "")])
