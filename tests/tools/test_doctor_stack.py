"""`make doctor` beside a native stack, on which the tests break one thing after the other."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.conftest import wait_until
from tests.kit.processes import start
from tests.kit.redis_server import running_redis
from tests.kit.repository import share_environment
from tests.tools.doctor import Patient
from tools.ports import free_port

pytestmark = pytest.mark.slow

GOOD = "ok   the code on disk is the code that runs\n"
BROKEN = "revision = 'f00d'\ndown_revision = None\nbranch_labels = None\ndepends_on = None\n"


class Stack(Patient):
    """A clone in which `make dev` runs natively, on a Redis of the test."""

    def __init__(self, folder: Path, redis: ExitStack) -> None:
        super().__init__(folder)
        share_environment(folder)
        if not (folder / ".venv").exists():
            pytest.skip("the tests don't run in .venv")
        self.redis, self.log = redis, folder.with_suffix(".log")
        url = redis.enter_context(running_redis(folder.parent))
        self.write(".env", f"REDIS_URL={url}\nMIGRATE_ON_RELOAD=false\n")
        command = ["make", "dev", "RUNTIME=native", f"API_PORT={self.port}"]
        self.make = start(command, self.log, cwd=folder, start_new_session=True)
        wait_until(lambda: "\nReady.\n" in self.log.read_text(), 90, f"the stack: {self.log}")

    def version(self) -> dict[str, Any]:
        version: dict[str, Any] = self._get("/version").json()
        return version

    def status(self, path: str) -> int:
        return self._get(path).status_code

    def _get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with ExitStack() as redis:
        stack = Stack(tmp_path_factory.mktemp("clone") / "clone", redis)
        try:
            yield stack
        finally:
            os.killpg(stack.make.pid, signal.SIGTERM)
            stack.make.wait(60)


def test_a_well_stack_passes_and_does_not_notice(stack: Stack) -> None:
    before = stack.version()["loaded_at"]
    said = stack.doctor(API_PORT=str(free_port()))  # not the one that it was started with
    assert stack.code == 0, said
    assert f"ok   the API on port {stack.port}, Redis, database, migrations\n{GOOD}" in said
    assert stack.version()["loaded_at"] == before


def test_a_reloader_that_hangs_is_found(stack: Stack) -> None:
    children = psutil.Process(stack.make.pid).children(recursive=True)
    reloader = next(process for process in children if "src.reload" in process.cmdline())
    path = stack.folder / "src" / "progress_manager.py"
    reloader.suspend()
    try:
        path.write_text(path.read_text() + "\n# changed\n")
        assert "FIX  the code on disk does not run in the API: `make logs` may say why" in stack.doctor()
    finally:
        reloader.resume()
    wait_until(lambda: "on_disk" not in stack.version(), 20, "the new code")
    assert GOOD in stack.doctor()


def test_code_that_does_not_load_is_named_with_its_line(stack: Stack) -> None:
    path = stack.folder / "src" / "progress_manager.py"
    good = path.read_text()
    path.write_text(good + "\ndef broken(:\n")
    wait_until(lambda: "problem" in stack.version().get("on_disk", {}), 20, "the reason")
    said = stack.doctor()
    assert "FIX  the code on disk does not load (API and worker: src/progress_manager.py:" in said
    path.write_text(good)
    wait_until(lambda: "on_disk" not in stack.version(), 20, "the good code")


def test_a_database_behind_the_migrations_is_found(stack: Stack) -> None:
    migration = stack.folder / "migrations" / "versions" / "new.py"
    (newest,) = _heads(stack.folder)
    migration.write_text(BROKEN.replace("None", repr(newest), 1))
    wait_until(lambda: stack.status("/health/ready") == 503, 30, "the new migration")
    said = stack.doctor()
    assert (
        f"FIX  the API on port {stack.port} is not ready (The database is not at the newest migration" in said
    )
    assert ": `make migrate`, start what is away, or correct its URL in .env.\n" in said
    migration.unlink()
    wait_until(lambda: stack.status("/health/ready") == 200, 30, "the old migrations")


def test_a_redis_that_is_away_is_found(stack: Stack) -> None:
    stack.redis.close()
    said = stack.doctor()
    assert f"FIX  the API on port {stack.port} is not ready (Redis does not answer (ConnectionError)" in said
    assert "FIX  the code on disk does not run in any worker: `make logs` may say why" in said


def _heads(folder: Path) -> list[str]:
    command = [str(folder / ".venv" / "bin" / "python"), "-m", "alembic", "heads"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines()]
