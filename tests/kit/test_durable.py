"""A durable job: its row is told what became of it, and is enqueued again when Redis has lost it."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.job import JobStatus
from rq.timeouts import JobTimeoutException
from sqlalchemy.exc import OperationalError, StatementError

from src.kit.queue import durable
from src.kit.queue.durable import durable_job
from src.kit.queue.enqueue import _MOVE, JobOptions, _sweeps, enqueue, find_job, forget_job, get_queue
from src.kit.queue.job import RobustJob
from src.kit.queue.scheduler import Scheduler
from src.kit.redis import get_redis
from src.reload.wakeup import Wakeup
from tests.kit.watched_redis import full

ROW = uuid.UUID(int=1)
accepted = [ROW]
ran: list[str] = []
given_up: list[tuple[uuid.UUID, str]] = []
asked: list[datetime] = []


def _unfinished(before: datetime) -> Iterable[uuid.UUID]:
    asked.append(before)
    return accepted


def _give_up(row_id: uuid.UUID, reason: str) -> None:
    given_up.append((row_id, reason))


@durable_job(_unfinished, _give_up, backoff=[0])
def work(row_id: str) -> None:
    """Fails once with an error that quotes a statement, if the test says so."""
    ran.append(row_id)
    if error := _errors.get(row_id):
        raise error


_errors: dict[str, Exception] = {}
_sweeps.remove(work.enqueue_lost)  # other tests in this process run what is registered


@pytest.fixture(autouse=True)
def nothing_noted(stack: dict[str, str]) -> None:
    for noted in (ran, given_up, asked, _errors):
        noted.clear()
    accepted[:] = [ROW]


def run_all() -> None:
    """Run what is in the queue, in this process."""
    SimpleWorker(
        [get_queue()], connection=get_redis(), serializer=get_queue().serializer, job_class=RobustJob
    ).work(burst=True)


def test_a_row_runs_under_its_id() -> None:
    work.enqueue(ROW)
    run_all()
    assert (ran, given_up) == ([str(ROW)], [])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("out of luck"), "The job failed for good: ValueError: out of luck"),
        (
            OperationalError("SELECT secret", {}, Exception()),
            "The job failed for good: OperationalError: the worker's log says more",
        ),
        (
            StatementError("", "SELECT secret", {}, JobTimeoutException("4 seconds")),
            "The job failed for good: it had not ended after 300 s, its time limit",
        ),
    ],
)
def test_the_last_failure_is_told_without_the_statement(error: Exception, reason: str) -> None:
    _errors[str(ROW)] = error
    work.enqueue(ROW)
    run_all()
    is_timeout = "time limit" in reason
    assert len(ran) == (1 if is_timeout else 4), "the first attempt and JOB_RETRIES more"
    assert given_up == [(ROW, reason)]


def test_what_redis_lost_is_enqueued_again_once(stack: dict[str, str]) -> None:
    work.enqueue(ROW)
    Redis.from_url(stack["REDIS_URL"]).flushall()
    work.enqueue_lost()
    work.enqueue_lost()
    assert get_queue().job_ids == [str(ROW)]
    assert all(before <= datetime.now(UTC) - durable.PATIENCE for before in asked)


def test_a_job_that_was_stopped_is_not_enqueued_again() -> None:
    work.enqueue(ROW)
    job = find_job(str(ROW))
    assert job
    get_queue().remove(job)
    job.set_status(JobStatus.STOPPED)
    work.enqueue_lost()
    assert get_queue().job_ids == []
    assert given_up == [(ROW, "The job failed for good: it was stopped")]


def test_a_job_is_forgotten_even_if_an_attempt_ends_meanwhile() -> None:
    work.enqueue(ROW)
    job = find_job(str(ROW))
    assert job
    # Still listed, but gone: RQ reads the list and the attempts one after the other.
    job.connection.zadd(job.execution_registry.key, {"ended": datetime.now(UTC).timestamp() + 60})
    forget_job(str(ROW))
    assert (find_job(str(ROW)), get_queue().job_ids) == (None, [])


def test_while_redis_is_away_accepting_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    get_queue().connection.connection_pool.connection_kwargs["port"] = 1
    get_queue().connection.connection_pool.disconnect()
    work.enqueue(ROW)
    assert "stored and will be enqueued later" in caplog.text


def test_a_job_that_takes_the_database_down_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.kit.limits.OUTAGE_WAIT", 0)
    error = OperationalError("", {}, Exception("server closed the connection"))
    error.statement = None
    _errors[str(ROW)] = error
    work.enqueue(ROW)
    run_all()
    assert len(ran) == 5 + 1 + 3, "five that don't count, the first one that does, and JOB_RETRIES more"
    assert "attempts ended in an outage" in given_up[0][1]


def test_while_redis_is_full_accepting_goes_on(
    stack: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with full(stack["REDIS_URL"]):
        work.enqueue(ROW)
    assert "Redis is full." in caplog.text
    assert get_queue().job_ids == []
    work.enqueue_lost()
    assert get_queue().job_ids == [str(ROW)]


def test_what_redis_lost_is_put_back_to_where_it_was_accepted() -> None:
    accepted[:] = rows = [uuid.UUID(int=number) for number in range(1, 6)]
    first, second, third, fourth, last = map(str, rows)
    for row in (rows[0], rows[3]):
        work.enqueue(row)
    newer = enqueue("tests.kit.test_durable.work", "newer")
    work.enqueue_lost()
    assert get_queue().job_ids == [first, second, third, fourth, last, newer.id]


def test_a_row_that_is_retried_is_put_back_to_where_it_was_accepted() -> None:
    accepted[:] = rows = [uuid.UUID(int=number) for number in range(1, 4)]
    for row in (rows[0], rows[2]):
        work.enqueue(row)
    work.enqueue_again(rows[1])
    assert get_queue().job_ids == [str(row) for row in rows]


def test_a_row_is_put_to_the_front_if_those_before_it_have_begun() -> None:
    other, job = enqueue("len", "other"), enqueue("len", "moved")
    get_queue().connection.eval(_MOVE, 1, get_queue().key, job.id, "begun meanwhile")
    assert get_queue().job_ids == [job.id, other.id]
    get_queue().remove(job)
    get_queue().connection.eval(_MOVE, 1, get_queue().key, job.id, other.id)
    assert get_queue().job_ids == [other.id], "it has begun, too"


def test_an_attempt_that_follows_at_once_comes_before_what_waits() -> None:
    _errors[str(ROW)] = ValueError("out of luck")
    work.enqueue(ROW)
    work.enqueue(uuid.UUID(int=2))
    run_all()
    assert ran == [str(ROW)] * 4 + [str(uuid.UUID(int=2))]


def test_an_attempt_that_had_to_wait_comes_before_what_waits() -> None:
    failed = enqueue("len", None, options=JobOptions(backoff=[60]))
    run_all()
    waiting = enqueue("len", "it")
    scheduled = get_queue().scheduled_job_registry
    assert failed.id in scheduled
    get_redis().zadd(scheduled.key, {failed.id: 1})
    Scheduler("a worker", [get_queue()], get_redis(), Wakeup()).run_once()
    assert get_queue().job_ids == [failed.id, waiting.id]
