"""The worker without reload: the steps of its start, what it waits for, and what it refuses."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.reload import fingerprint
from tests.conftest import ROOT, wait_until
from tests.kit.worker_process import Workers, stop


def test_it_logs_its_steps_registers_with_its_code_and_leaves_at_once(
    workers: Workers, subtests: pytest.Subtests
) -> None:
    process = workers.start()
    workers.enqueue("note", 1)
    workers.wait_for_begun(1)
    with subtests.test("it logs each step in order"):
        [steps] = [line.partition("Steps: ")[2] for line in workers.log.splitlines() if "Steps: " in line]
        names = re.findall(r"([a-z-]+) \(", steps)
        assert names == ["settings", "signals", "queue", "worker", "auto-reload", "monitor"]
    with subtests.test("it watches nothing"):
        assert len(workers.running()) <= 2  # the worker, and a job that may still be leaving
        assert "watchfiles" not in Path(f"/proc/{process.pid}/maps").read_text()
    with subtests.test("its hash shows which code it runs, and since when"):
        [worker] = workers.registered()
        assert worker["code"] == fingerprint(workers.folder / "src")
        assert worker["loaded_at"].startswith("20")
    with subtests.test("it registers again when Redis has forgotten it"):
        workers.redis.flushall()
        again = wait_until(lambda: [found for found in workers.registered() if "code" in found], 15)[0]
        assert again["code"] == worker["code"]
    with subtests.test("an idle worker leaves at once"):
        wait_until(lambda: [found for found in workers.registered() if found.get("state") == "idle"])
        started = time.monotonic()
        assert stop(process) == 0
        assert time.monotonic() - started < 2
        assert workers.registered() == []


@pytest.mark.parametrize(
    ("environment", "advice"),
    [
        ({"ENVIRONMENT": "production", "RQ_WORKER_AUTORELOAD": "true"}, "RQ_WORKER_AUTORELOAD=false"),
        ({"RQ_WORKER_MAX_RESTARTS": "many"}, "RQ_WORKER_MAX_RESTARTS"),
        ({"WORKER_STOP_GRACE_PERIOD": "330s", "JOB_TIMEOUT": "600"}, "WORKER_STOP_GRACE_PERIOD=630s"),
    ],
    ids=["reload in production", "a wrong setting", "jobs that outlast the grace period"],
)
def test_it_refuses_with_a_sentence(workers: Workers, environment: dict[str, str], advice: str) -> None:
    process = workers.start(**environment)
    assert process.wait(20) == 2
    assert advice in workers.log
    assert "Traceback" not in workers.log


def test_it_waits_for_the_database_and_says_so_once(workers: Workers) -> None:
    (workers.folder / "app.db").unlink()
    workers.enqueue("note", 1)
    stopped = workers.start()
    workers.wait_for_log("Waiting before the first job")
    assert stop(stopped, seconds=3) == 0, "a signal ends the waiting at once"
    process = workers.start()
    workers.wait_for_log("Waiting before the first job", 2)
    workers.migrate()
    workers.wait_for_begun(1)
    assert workers.log.count("Waiting before the first job") == 2
    assert stop(process) == 0


def test_the_supervisor_imports_nothing_of_the_application() -> None:
    program = "import sys, src.rq_worker; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(found.stdout.split())
    assert "src.rq_worker" in loaded
    features = {f"src.{path.parent.name}" for path in ROOT.glob("src/*/jobs.py")}
    heavy = {"src.main", "src.kit.database.engine", "src.kit.queue.enqueue", "src.kit.web.health"}
    assert not loaded & {*features, *heavy, "rq", "sqlalchemy", "fastapi", "alembic", "watchfiles"}
