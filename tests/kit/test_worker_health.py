"""The worker's health check, as Compose runs it, notices that a real worker hangs or waits."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.conftest import ROOT, wait_until
from tests.kit.worker_process import Workers, stop

WORKER = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["rqworker"]
CHECK: str = WORKER["healthcheck"]["test"].replace("$$", "$")
OLD = 31
"""Seconds after which a heartbeat counts as old."""


def is_healthy(heartbeat: Path) -> bool:
    environment = os.environ | {"RQ_WORKER_HEARTBEAT_FILE": str(heartbeat)}
    check = subprocess.run(["sh", "-c", CHECK], env=environment, capture_output=True, check=False)
    return check.returncode == 0


def let_time_pass(heartbeat: Path) -> None:
    """Make the last heartbeat old, as if time had passed."""
    then = heartbeat.stat().st_mtime - OLD
    os.utime(heartbeat, (then, then))


@pytest.fixture
def heartbeat(tmp_path: Path) -> Path:
    return tmp_path / "heartbeat"


@pytest.mark.slow  # it waits for the next heartbeat
@pytest.mark.parametrize("autoreload", ["false", "true"])
def test_a_worker_whose_loop_hangs_is_unhealthy(workers: Workers, heartbeat: Path, autoreload: str) -> None:
    process = workers.start(RQ_WORKER_HEARTBEAT_FILE=str(heartbeat), RQ_WORKER_AUTORELOAD=autoreload)
    wait_until(lambda: is_healthy(heartbeat), what="a healthy worker")
    hanging = [int(worker["pid"]) for worker in workers.registered()]
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    let_time_pass(heartbeat)
    assert not is_healthy(heartbeat)
    for pid in hanging:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: is_healthy(heartbeat), what="a healthy worker again")
    assert stop(process) == 0


@pytest.mark.slow
def test_a_worker_whose_loop_hangs_while_its_job_runs_is_unhealthy(workers: Workers, heartbeat: Path) -> None:
    process = workers.start(RQ_WORKER_HEARTBEAT_FILE=str(heartbeat))
    workers.enqueue("wait_for_word", 1)
    workers.wait_for_begun(1)
    let_time_pass(heartbeat)
    wait_until(lambda: is_healthy(heartbeat), what="a heartbeat while the job runs")
    process.send_signal(signal.SIGSTOP)
    let_time_pass(heartbeat)
    assert not is_healthy(heartbeat)
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: is_healthy(heartbeat), what="a healthy worker again")
    workers.redis.set("end", 1)
    assert stop(process) == 0


def test_a_worker_that_waits_before_its_first_job_is_not_healthy(workers: Workers, heartbeat: Path) -> None:
    heartbeat.touch()  # left by an earlier start
    (workers.folder / "app.db").unlink()
    process = workers.start(RQ_WORKER_HEARTBEAT_FILE=str(heartbeat))
    workers.wait_for_log("Waiting before the first job")
    assert not is_healthy(heartbeat)
    workers.migrate()
    wait_until(lambda: is_healthy(heartbeat), what="a healthy worker")
    assert stop(process) == 0


def test_a_check_costs_less_than_100_ms_of_cpu(heartbeat: Path) -> None:
    heartbeat.touch()
    before = os.times()
    for _ in range(10):
        assert is_healthy(heartbeat)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent / 10 < 0.1
