"""`python -m src.reload.live` and `/version`: whether API and worker run the code on disk, and why not."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from src.reload.fingerprint import fingerprint
from tests.conftest import wait_until
from tests.kit.production_process import RELOADING, Api, started
from tests.kit.worker_process import JOBS, Workers, stop

pytestmark = pytest.mark.slow

MAIN = """
from src.kit.web.app import create_app
from src.probe import routes
app = create_app(title="Probe", routers=[routes.router])
"""

ROUTES = """
from fastapi import APIRouter
import src.probe.second
from src.probe.version import VERSION
router = APIRouter()

@router.get("/constant")
def constant():
    return VERSION
"""


class Stack:
    """An API and a worker, both with reload, on a copy of the code with the feature `probe`."""

    def __init__(self, workers: Workers, api: Api) -> None:
        self.workers, self.api = workers, api
        self.save = workers.save

    def live(self, *options: str) -> tuple[int, str]:
        """Exit code and output of `python -m src.reload.live`, as a user runs it after a save."""
        process = self.start_live(*options)
        return process.wait(60), process.communicate()[0]

    def start_live(self, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "src.reload.live", *options], cwd=self.workers.folder, text=True,
            env=os.environ | {"API_PORT": str(self.api.port)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # A shell ignores it for what it runs in the background, which may be these tests.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    def version(self) -> dict[str, Any]:
        version: dict[str, Any] = self.api.ask("/version").json()
        return version


@pytest.fixture(scope="module")
def stack(
    redis_server: str, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """For all tests of the module: each leaves it with good code at work."""
    Redis.from_url(redis_server).flushall()
    workers = Workers(tmp_path_factory.mktemp("live"), redis_server, sqlite_template)
    (workers.folder / "src" / "main.py").write_text(MAIN)
    workers.save("routes.py", ROUTES)
    workers.save("first.py", "import src.probe.second\nNAME = 1\n")
    workers.save("second.py", "from src.probe.first import NAME\n")
    with started(Api(workers.folder, RELOADING, workers.environment, workers.folder)) as api:
        workers.start(RQ_WORKER_AUTORELOAD="true")
        workers.wait_for_log("New worker at work")
        yield Stack(workers, api)
    workers.kill_all()


@pytest.mark.parametrize("saves", [6, pytest.param(20, marks=pytest.mark.slow)])
def test_once_it_is_live_every_request_and_job_runs_what_was_saved_just_before(
    stack: Stack, saves: int
) -> None:
    for version in range(2, 2 + saves):
        stack.save("version.py", f"VERSION = {version}\n")
        code, said = stack.live()
        assert code == 0, said
        assert stack.api.ask("/constant").json() == version, said
        stack.workers.enqueue("note", version)
        assert stack.workers.wait_for_begun(version).version == version, said


def test_it_says_what_each_process_runs_and_since_when(stack: Stack) -> None:
    version = stack.version()
    (worker,) = version["workers"]
    code, said = stack.live()
    assert code == 0
    assert said.splitlines() == [
        f"Live: all processes run {version['code']}",
        f"  API: {version['code']}, loaded at {version['loaded_at']}",
        f"  worker {worker['name']}: {version['code']}, loaded at {worker['loaded_at']}",
    ]
    code, said = stack.live("--json")
    result = json.loads(said)
    assert (code, result["state"], result["code"]) == (0, "live", version["code"])
    assert [each["loaded_at"] for each in result["processes"]] == [version["loaded_at"], worker["loaded_at"]]


BROKEN: dict[str, tuple[str, bytes | None, str]] = {
    "syntax": ("version.py", b"VERSION = (\n", r"API and worker: src/probe/version\.py:1: SyntaxError: .*"),
    "not UTF-8": (
        "version.py", b"VERSION = 1\nNAME = '\xff'\n",
        r"API and worker: src/probe/version\.py:\d: SyntaxError: .*utf-8.*",
    ),
    "deleted": (
        "version.py", None,
        r"API: src/probe/routes\.py:4: Module.*probe.version'; worker: src/probe/jobs\.py:5: Module.*",
    ),
    "only the API": ("routes.py", b"1 / 0\n", r"API: src/probe/routes\.py:1: ZeroDivisionError: .*"),
    "only the worker": (
        "jobs.py", b"import src.probe.first\n",
        r"worker: src/probe/second\.py:1: ImportError: cannot import name 'NAME' .*circular.*",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_broken_code_is_reported_at_once_with_process_place_and_reason_until_it_is_fixed(
    stack: Stack, what: str
) -> None:
    name, content, problem = BROKEN[what]
    path = stack.workers.folder / "src" / "probe" / name
    good = path.read_text()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    if "and" in problem or ";" in problem:  # it says what it knows, and one process may be slower
        wait_until(lambda: re.fullmatch(problem, str(stack.version().get("on_disk", {}).get("problem"))))
    code, said = stack.live("--timeout", "20")
    assert (code, bool(re.match(f"Broken: {problem}\n", said))) == (1, True), said
    assert re.fullmatch(problem, stack.version()["on_disk"]["problem"])
    stack.save(name, good + "# fixed\n")
    code, said = stack.live()
    assert code == 0, said
    assert "on_disk" not in stack.version()


def test_a_worker_that_could_never_load_its_code_says_why(stack: Stack) -> None:
    assert stop(stack.workers.processes.pop()) == 0
    code, said = stack.live("--timeout", "0.5")
    assert (code, said.splitlines()[0]) == (3, "Not live: no worker is running")
    stack.save("jobs.py", "import src.probe.first\n")
    stack.workers.start(RQ_WORKER_AUTORELOAD="true")
    code, said = stack.live()
    assert code == 1, said
    assert said.startswith("Broken: worker: src/probe/second.py:1: ImportError: "), said
    stack.save("jobs.py", JOBS)
    assert stack.live()[0] == 0


def test_a_worker_that_only_finishes_its_job_does_not_count(stack: Stack) -> None:
    stack.workers.enqueue("wait_for_word", 1)
    stack.workers.wait_for_begun(1)
    stack.save("version.py", "VERSION = 102\n")
    code, said = stack.live()
    assert code == 0, said
    assert sorted(worker["leaving"] for worker in stack.version()["workers"]) == [False, True]
    stack.workers.redis.set("end", 1)
    wait_until(lambda: len(stack.version()["workers"]) == 1)


def test_after_the_timeout_it_names_the_process_that_is_late(stack: Stack) -> None:
    os.kill(stack.workers.processes[0].pid, signal.SIGSTOP)
    stack.save("version.py", "VERSION = 103\n")
    wait_until(lambda: stack.version()["code"] == fingerprint(stack.workers.folder / "src"), what="the API")
    code, said = stack.live("--timeout", "2")
    os.kill(stack.workers.processes[0].pid, signal.SIGCONT)
    (worker,) = stack.version()["workers"]
    assert code == 3
    assert re.match(rf"Not live: \w+ is not loaded by worker {worker['name']}\n", said), said
    assert stack.live()[0] == 0


def test_ctrl_c_ends_it_without_a_traceback(stack: Stack) -> None:
    os.kill(stack.workers.processes[0].pid, signal.SIGSTOP)
    stack.save("version.py", "VERSION = 104\n")
    asked = stack.api.output.read_text().count("GET /version")
    process = stack.start_live()
    wait_until(lambda: stack.api.output.read_text().count("GET /version") > asked + 2)
    process.send_signal(signal.SIGINT)
    assert (process.communicate()[0], process.returncode) == ("", 130)
    os.kill(stack.workers.processes[0].pid, signal.SIGCONT)
