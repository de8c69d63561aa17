"""The worker without reload: it starts in steps, stops without losing a job, and outlives Redis."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from redis import Redis

from tests.conftest import wait_until
from tests.kit.worker_process import Workers, exhausted, migrate, stop, workers
from tools.ports import free_port
from tools.redis_binary import redis_command

__all__ = ["workers"]


def test_it_logs_each_step_in_order_and_watches_nothing(workers: Workers) -> None:
    process = workers.start()
    workers.enqueue("note", 1)
    workers.wait_for_begun(1)
    steps = [
        line.partition("Step ")[2].partition(":")[0] for line in workers.log.splitlines() if "Step " in line
    ]
    assert steps == ["settings", "signals", "queue", "worker", "auto-reload", "monitor"]
    assert len(workers.running()) <= 2  # the worker, and a job that may still be leaving
    assert "watchfiles" not in Path(f"/proc/{process.pid}/maps").read_text()
    assert stop(process) == 0


def test_its_hash_tells_the_code_and_when_it_was_loaded(workers: Workers) -> None:
    from src.reload import fingerprint

    process = workers.start()
    worker = wait_until(workers.registered)[0]
    assert worker["code"] == fingerprint(workers.folder / "src")
    assert worker["loaded_at"].startswith("20")
    workers.redis.flushall()  # Redis has forgotten it: it registers again by itself
    again = wait_until(lambda: [found for found in workers.registered() if "code" in found], 15)[0]
    assert again["code"] == worker["code"]
    assert stop(process) == 0
    assert workers.registered() == []


def test_in_production_it_refuses_to_reload(workers: Workers) -> None:
    process = workers.start(ENVIRONMENT="production", RQ_WORKER_AUTORELOAD="true")
    assert process.wait(20) == 2
    assert "RQ_WORKER_AUTORELOAD=false" in workers.log
    assert "Traceback" not in workers.log


def test_a_wrong_setting_is_a_sentence(workers: Workers) -> None:
    process = workers.start(RQ_WORKER_MAX_RESTARTS="many")
    assert process.wait(20) == 2
    assert "RQ_WORKER_MAX_RESTARTS" in workers.log
    assert "Traceback" not in workers.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_finish(workers: Workers, number: signal.Signals) -> None:
    process = workers.start()
    workers.enqueue("wait_for_word", 1)
    workers.wait_for_begun(1)
    os.killpg(process.pid, number)  # to the whole group, as a terminal does it
    workers.wait_for_log("stopping, after the running job")
    workers.enqueue("note", 2)
    workers.redis.set("end", 1)
    assert process.wait(20) == 0
    assert workers.ended == [1]
    assert len(workers.queue) == 1
    assert workers.running() == []
    assert workers.registered() == []


def test_an_idle_worker_leaves_at_once(workers: Workers) -> None:
    process = workers.start()
    wait_until(lambda: [worker for worker in workers.registered() if worker.get("state") == "idle"])
    started = time.monotonic()
    assert stop(process) == 0
    assert time.monotonic() - started < 2


def test_no_job_is_stranded_whenever_the_signal_comes(workers: Workers) -> None:
    number = 0
    for round_ in range(4):
        process = workers.start()
        wait_until(workers.registered, what="the worker")
        for _ in range(20 + 7 * round_):
            number += 1
            workers.enqueue("note", number)
            time.sleep(0.002)  # a steady stream of work, not a wait
        assert stop(process) == 0
        assert workers.redis.llen(workers.queue.intermediate_queue_key) == 0
        assert workers.queue.started_job_registry.count == 0
    last = workers.start()
    wait_until(lambda: exhausted(workers), 60)
    assert stop(last) == 0
    assert sorted(workers.ended) == list(range(1, number + 1))


def test_a_second_signal_kills_the_job_and_another_worker_runs_it_again(workers: Workers) -> None:
    process = workers.start()
    workers.enqueue("wait_for_word", 1, tries=3)
    job = workers.wait_for_begun(1)
    process.send_signal(signal.SIGTERM)
    workers.wait_for_log("stopping, after the running job")

    def insist() -> bool:  # a signal right after the first one counts as the same
        process.send_signal(signal.SIGTERM)
        return process.poll() is not None

    wait_until(insist)
    assert process.returncode == 128 + signal.SIGTERM
    wait_until(lambda: not psutil.pid_exists(job.pid), what="the job's process to end")
    workers.redis.set("end", 1)
    workers.let_time_pass()
    process = workers.start()
    wait_until(lambda: workers.ended == [1], 60, "the second try")
    assert stop(process) == 0


def test_a_job_that_outlasts_the_stop_is_killed_in_time_and_another_worker_runs_it_again(
    workers: Workers,
) -> None:
    process = workers.start(WORKER_STOP_GRACE_PERIOD="12s", JOB_TIMEOUT="1")
    workers.enqueue("wait_for_word", 1, tries=3)
    workers.wait_for_begun(1)
    assert stop(process) == 0
    assert "has not ended in 2 s: killed" in workers.log
    assert len(workers.queue) == 1
    workers.redis.set("end", 1)
    process = workers.start()
    wait_until(lambda: workers.ended == [1], 20, "the second try")
    assert stop(process) == 0


def test_it_refuses_jobs_that_may_take_longer_than_its_container_waits(workers: Workers) -> None:
    process = workers.start(WORKER_STOP_GRACE_PERIOD="330s", JOB_TIMEOUT="600")
    assert process.wait(20) == 2
    assert "WORKER_STOP_GRACE_PERIOD=630s" in workers.log
    assert "Traceback" not in workers.log


def test_what_a_killed_worker_leaves_behind_is_taken_up_again_within_a_minute(workers: Workers) -> None:
    process = workers.start()
    workers.enqueue("wait_for_word", 1, tries=3)
    job = workers.wait_for_begun(1)
    process.kill()
    wait_until(lambda: not psutil.pid_exists(job.pid), what="the job to die with its worker")
    workers.enqueue("note", 2)
    workers.redis.lmove(workers.queue.key, workers.queue.intermediate_queue_key)  # taken and not begun
    workers.redis.set("end", 1)
    other = workers.start()
    wait_until(lambda: sorted(workers.ended) == [1, 2], 60, "both jobs")
    wait_until(lambda: len(workers.registered()) == 1, what="the dead worker to be forgotten")
    assert stop(other) == 0


def test_it_waits_for_the_database_and_says_so_once(workers: Workers) -> None:
    (workers.folder / "app.db").unlink()
    workers.enqueue("note", 1)
    process = workers.start()
    workers.wait_for_log("Waiting before the first job")
    migrate(workers)
    workers.wait_for_begun(1)
    assert workers.log.count("Waiting before the first job") == 1
    assert stop(process) == 0


def test_a_signal_ends_the_waiting_at_once(workers: Workers) -> None:
    (workers.folder / "app.db").unlink()
    process = workers.start()
    workers.wait_for_log("Waiting before the first job")
    assert stop(process, seconds=3) == 0


def test_it_outlives_redis(workers: Workers, tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    folder = tmp_path / "redis"
    folder.mkdir()
    redis = Redis.from_url(url)

    def serve() -> subprocess.Popen[bytes]:
        server = subprocess.Popen(redis_command(port), cwd=folder, stdout=subprocess.DEVNULL)
        wait_until(lambda: _answers(redis), what="Redis")
        return server

    server = serve()
    try:
        process = workers.start(REDIS_URL=url)
        wait_until(lambda: redis.smembers("rq:workers"))
        server.kill()
        server.wait()
        workers.wait_for_log("Redis is away")
        server = serve()
        workers.wait_for_log("Redis is back")
        workers.redis = redis
        workers.queue.connection = redis
        workers.enqueue("note", 1)
        workers.wait_for_begun(1)
        assert "Traceback" not in workers.log
        assert stop(process) == 0
    finally:
        server.kill()
        server.wait()


def _answers(redis: "Redis") -> bool:
    try:
        return bool(redis.ping())
    except Exception:  # noqa: BLE001  not yet
        return False


def test_the_supervisor_imports_nothing_of_the_application() -> None:
    program = "import sys, src.rq_worker; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    assert "src.rq_worker" in loaded
    assert not loaded & {
        "src.sales",
        "src.main",
        "src.kit.database.engine",
        "src.kit.queue.enqueue",
        "src.kit.web.health",
        "rq",
        "sqlalchemy",
        "fastapi",
        "alembic",
    }
    assert "watchfiles" not in loaded
