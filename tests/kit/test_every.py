"""Schedules: each due time once, whatever the number of workers, and late only if it says so."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import psutil
import pytest
from rq import Queue

from src.kit.queue.enqueue import get_queue
from src.kit.queue.every import KEY, LATE, Schedule, Times, enqueue_due, every, read, schedules
from src.kit.redis import get_redis
from tests.conftest import ROOT, wait_until
from tests.kit.test_scheduler import scheduled_by
from tests.kit.worker_process import Workers, stop

TICK = """
@every({times})
@job(queue="low", backoff=[0])
def {name}():
    get_redis().rpush("{name}", get_current_job().id.rpartition("-")[2])
"""
TICKS = """
from src.kit.queue.enqueue import job
from src.kit.queue.every import every
from src.kit.redis import get_redis
from rq import get_current_job
""" + TICK.replace("{name}", "tick")


def of_probe(workers: Workers) -> list[Times]:
    """The schedules of the test; the service has its own."""
    return [times for times in read(workers.redis) if times.name.startswith("src.probe.")]


def schedule(cron: str | None = None, seconds: float = 0, *, catch_up: bool = False) -> Schedule:
    return Schedule("name", int, cron, seconds, catch_up, None)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("times", "moment", "due"),
    [
        (schedule("0 3 * * *"), "2026-11-24 03:00", "2026-11-25 03:00"),
        (schedule("*/15 * * * *"), "2026-11-24 03:01", "2026-11-24 03:15"),
        (schedule(seconds=300), "2026-11-24 03:01", "2026-11-24 03:05"),
        (schedule(seconds=300), "2026-11-24 03:05", "2026-11-24 03:10"),
    ],
)
def test_the_next_time(times: Schedule, moment: str, due: str) -> None:
    assert times.after(at(moment)) == at(due)


def test_what_was_missed_runs_once_and_only_if_it_is_to_catch_up() -> None:
    now = 1_000_000.0
    short_outage = list(schedule(seconds=10).due(now - 30, now))
    assert short_outage == [now - 30, now - 20, now - 10, now], "nothing is missed by a restart"
    long_outage = list(schedule(seconds=3600).due(now - LATE - 1, now))
    assert long_outage == []
    assert list(schedule(seconds=3600, catch_up=True).due(now - 7200, now)) == [now - 7200]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({}, "needs either a cron expression"),
        ({"cron": "0 3 * * *", "minutes": 5}, "needs either a cron expression"),
        ({"cron": "at three"}, "'at three' is not a cron expression"),
        ({"minutes": 0}, "the shortest interval is one second"),
    ],
)
def test_wrong_times_are_refused_in_a_sentence(times: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        every(**times)  # type: ignore[arg-type]


@pytest.mark.parametrize(("catch_up", "late"), [("True", 1), ("False", 0)])
def test_what_was_due_while_no_worker_ran_runs_once_if_it_is_to_catch_up(
    workers: Workers, catch_up: str, late: int
) -> None:
    workers.save("jobs.py", TICKS.format(times=f'"0 3 * * *", catch_up={catch_up}'))
    process = workers.start()
    (planned,) = wait_until(lambda: of_probe(workers), what="the schedule")
    assert stop(process) == 0
    missed = planned._replace(next=planned.next - 3 * 86_400)
    workers.redis.hset(KEY, planned.name, json.dumps(missed._asdict()))
    assert stop_after(workers, lambda: of_probe(workers) != [missed]) == 0
    assert ticks(workers) == [missed.next] * late
    assert of_probe(workers)[0].next == planned.next


def stop_after(workers: Workers, condition: Callable[[], bool]) -> int:
    """Run a worker until a condition holds and no job is left."""
    process = workers.start()
    wait_until(condition, what=workers.log)
    wait_until(lambda: not Queue("low", connection=workers.redis).count)
    return stop(process)


def ticks(workers: Workers, name: str = "tick") -> list[int]:
    stored: list[bytes] = workers.redis.lrange(name, 0, -1)  # type: ignore[assignment]
    return [int(tick) for tick in stored]


def missing(done: list[int]) -> set[int]:
    """The seconds between the first tick and the last that had none."""
    return {*range(min(done), max(done))} - set(done) if done else set()


def test_each_tick_runs_once_with_two_workers(workers: Workers) -> None:
    _drill(workers, schedules=1, count=2, kills=0)


@pytest.mark.slow  # two minutes, so that many ticks meet a kill
def test_two_hundred_ticks_with_five_workers_and_kills(workers: Workers) -> None:
    _drill(workers, schedules=3, count=70, kills=6)


def _scheduling(workers: Workers) -> int | None:
    pid = workers.redis.hget(f"rq:worker:{scheduled_by(workers, 'schedules')}", "pid")
    return int(pid) if pid and psutil.pid_exists(int(pid)) else None


def _drill(workers: Workers, schedules: int, count: int, kills: int) -> None:
    """Let workers run schedules, and now and then save some code and kill the one that schedules."""
    code = TICKS.format(times="seconds=1")
    for number in range(1, schedules):
        code += TICK.format(times="seconds=1", name=f"tick{number}")
    workers.save("jobs.py", code)
    low = Queue("low", connection=workers.redis)
    processes = [
        workers.start(RQ_WORKER_AUTORELOAD="true"),
        *(workers.start() for _ in range(4 if kills else 1)),
    ]
    wait_until(lambda: len(ticks(workers)) >= 2, 60, workers.log[-3000:])
    for kill in range(kills):
        wanted = (kill + 1) * count // (kills + 1)
        wait_until(lambda n=wanted: len(ticks(workers)) >= n, 120)  # type: ignore[misc]
        workers.save("jobs.py", f"{code}# {kill}\n")
        # Right after a tick: a job that is killed runs again, which is not what this counts.
        seen = len(ticks(workers))
        wait_until(lambda n=seen: len(ticks(workers)) > n and not low.started_job_registry.count)  # type: ignore[misc]
        pid = wait_until(lambda: _scheduling(workers), what="a scheduler")
        with suppress(ProcessLookupError):  # a hand-over was faster
            os.kill(pid, signal.SIGKILL)
        for process in [process for process in processes if process.pid == pid]:  # else it is a generation
            process.wait()
            processes[processes.index(process)] = workers.start()
    wait_until(lambda: len(ticks(workers)) >= count + 2, 120, workers.log[-3000:])
    plain = {process.pid for process in processes[1:]}  # until then, SIGTERM would end them as it ends any
    wait_until(lambda: plain <= {int(each["pid"]) for each in workers.registered()}, 60, "all workers")
    names = [f"tick{number or ''}" for number in range(schedules)]
    # A tick that a killed worker had taken runs once that worker counts as dead; until then it is on its way.
    on_its_way = low.intermediate_queue.get_job_ids
    wait_until(
        lambda: not on_its_way() and not any(missing(ticks(workers, name)) for name in names),
        90,
        "the missing ticks",
    )
    for process in processes:
        assert stop(process) == 0
    for name in names:
        done = ticks(workers, name)
        assert (missing(done), len(done)) == (set(), len(set(done))), "none is missing, none ran twice"


@pytest.mark.slow  # it waits for two hand-overs
def test_a_changed_schedule_takes_over_with_the_hand_over_and_a_deleted_one_stops(workers: Workers) -> None:
    workers.save("jobs.py", TICKS.format(times='"0 3 * * *"'))
    process = workers.start(RQ_WORKER_AUTORELOAD="true")
    [stored] = wait_until(lambda: of_probe(workers), what=workers.log[-3000:])
    assert (stored.name, stored.spec, stored.queue) == ("src.probe.jobs.tick", "0 3 * * *", "low")
    workers.save("jobs.py", TICKS.format(times="seconds=1"))
    wait_until(lambda: ticks(workers), what=workers.log[-3000:])
    workers.save("jobs.py", "")
    wait_until(lambda: not of_probe(workers), what=workers.log[-3000:])
    assert stop(process) == 0


def test_a_schedule_of_a_queue_that_nobody_serves_does_not_stop_the_others(
    stack: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("src.kit.queue.every._schedules", {})
    every(seconds=1, queue="hihg")(enqueue_due)
    every(seconds=1)(read)
    for times in (schedules()[0], schedules()[1]):
        queue = times.queue or "default"
        old = Times(times.name, times.spec, queue, time.time() // 1 - 5, None)
        get_redis().hset(KEY, times.name, json.dumps(old._asdict()))
    enqueue_due(get_redis(), lambda _: None)
    assert "is skipped: no worker serves the queue 'hihg'" in caplog.text
    assert get_queue().count >= 5


def test_what_runs_next_is_not_said_with_wrong_settings_but_why() -> None:
    command = [sys.executable, "-m", "src.kit.queue.upcoming"]
    wrong = os.environ | {"REDIS_URL": "nonsense"}
    said = subprocess.run(command, cwd=ROOT, env=wrong, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (2, "")
    assert "REDIS_URL is wrong: nonsense is not a URL." in said.stderr
    assert "Traceback" not in said.stderr
