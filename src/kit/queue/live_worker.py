"""RQ's worker, made to outlive Redis, to show that it is alive, and to say which code it runs."""

import contextlib
import functools
import socket
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from redis import Redis
from rq import Worker
from rq.exceptions import DeserializationError
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import now
from rq.worker import WorkerStatus

from src.kit.queue import durations, maintenance
from src.kit.redis import REDIS_AWAY
from src.reload.wakeup import Wakeup

HEARTBEAT = 10
"""Seconds between two heartbeats of a worker that is busy."""

TIME_TO_LIVE = 25
"""Seconds after its last heartbeat in which a worker, or a job that it runs, counts as alive."""

POP_TIMEOUT = 5
"""Seconds that an idle worker waits for a job before its next heartbeat."""

FIRST_MAINTENANCE = 1
"""Seconds until the first maintenance."""

P = ParamSpec("P")
R = TypeVar("R")


def _unless_redis_is_away(method: Callable[P, R]) -> Callable[P, R | None]:
    """Decorator: leave it for the next time while Redis is away; waiting for a job says so in the log."""

    @functools.wraps(method)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return method(*args, **kwargs)
        except REDIS_AWAY:
            return None

    return attempt


def _failed_or_retried(job: Job) -> durations.Outcome:
    status = job.get_status(refresh=False)
    return "retried" if status in (JobStatus.QUEUED, JobStatus.SCHEDULED) else "failed"


class LiveWorker(Worker):
    """RQ's worker as others see it: in Redis, in the log and by its heartbeat file.

    - While Redis is away it waits, and registers anew when Redis has forgotten it.
    - Its maintenance takes up within a minute what dead workers left behind (`maintenance`).
    - Its hash in Redis tells `code` and `loaded_at`.
    """

    def __init__(
        self,
        queues: Any,
        name: str | None = None,
        *args: Any,
        code: str = "",
        loaded_at: datetime | None = None,
        sweep: Callable[[], None] = lambda: None,
        heartbeat_file: Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepare; `work` runs it.

        Args:
            queues: the queue.
            name: unique among all workers; by default the host's name with something random.
            args: further arguments of RQ's worker.
            code: fingerprint of the code.
            loaded_at: when the code was loaded.
            sweep: called in maintenance, every few seconds by one worker of all.
            heartbeat_file: touched at each heartbeat that Redis has taken, for health checks.
            kwargs: further arguments of RQ's worker.
        """
        kwargs = {"job_monitoring_interval": HEARTBEAT, "worker_ttl": TIME_TO_LIVE} | kwargs
        super().__init__(queues, name or f"{socket.gethostname()}-{uuid4().hex[:8]}", *args, **kwargs)
        self.maintenance_interval = maintenance.INTERVAL
        # The first jobs come first, then the first maintenance.
        since = timedelta(seconds=maintenance.INTERVAL - FIRST_MAINTENANCE)
        self.last_cleaned_at = now() - since  # type: ignore[assignment]
        self.on_working: Callable[[], object] = lambda: None
        """Called once it is registered."""
        self._code = code
        self._loaded_at = loaded_at
        self._sweep = sweep
        self._heartbeat_file = heartbeat_file
        self._stop = Wakeup()
        """Set when it is asked to stop, which ends every pause."""
        self._is_redis_away = False

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Register, once Redis is there."""
        while not self._stop_requested:
            try:
                self.connection.delete(self.key)  # what an attempt before this one may have left
                super().bootstrap(*args, **kwargs)
            except REDIS_AWAY as error:
                self._say_redis_is(away=error)
                self._stop.wait(1)
            else:
                self.on_working()
                return

    def unsubscribe(self) -> None:
        """Hear no more commands. RQ stops the thread last, so that it sleeps on and has to be waited for."""
        if self.pubsub_thread and self.pubsub:
            self.pubsub_thread.stop()
            self.pubsub.unsubscribe()
            self.pubsub_thread.join(timeout=1)

    def _set_ip_address(self, connection: Redis) -> None:
        self.ip_address = "unknown"
        with contextlib.suppress(*REDIS_AWAY):
            super()._set_ip_address(connection)

    @property
    def connection_timeout(self) -> int:
        """Seconds that a command may take; RQ stretches it for waiting, which has its own connection here."""
        return POP_TIMEOUT

    def serialize(self) -> dict[str, Any]:
        """What the worker's hash in Redis tells."""
        loaded_at = self._loaded_at.isoformat() if self._loaded_at else ""
        return super().serialize() | {"code": self._code, "loaded_at": loaded_at}

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:  # noqa: ARG002
        """Stay registered for `TIME_TO_LIVE`."""
        with contextlib.suppress(*REDIS_AWAY):
            super().heartbeat(TIME_TO_LIVE, pipeline)
            if pipeline is None:
                self._note_heartbeat()

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Heartbeat of a worker that waits for its job, and of the job."""
        try:
            super().maintain_heartbeats(job, execution)
        except REDIS_AWAY as error:
            self._say_redis_is(away=error)
        else:
            self._say_redis_is(away=None)
            self._note_heartbeat()

    def _note_heartbeat(self) -> None:
        """Touch the file: the worker's loop turns, and Redis has just answered it."""
        if self._heartbeat_file:
            self._heartbeat_file.touch()

    def _look_alive(self) -> None:
        """Heartbeat, registration and maintenance of a worker that waits."""
        self.set_state(WorkerStatus.IDLE)
        self.heartbeat()
        if not self.connection.hexists(self.key, "birth"):
            self.connection.hset(self.key, mapping=self.serialize())  # type: ignore[arg-type]
            self.connection.sadd(self.redis_workers_keys, self.key)
            self.connection.sadd(f"rq:workers:{self.queues[0].name}", self.key)
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        """Seconds in which the job counts as running without a further heartbeat."""
        return TIME_TO_LIVE

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """The job has finished: note it, and count it."""
        super().handle_job_success(job, *args, **kwargs)
        self._count(job, "finished")

    def handle_job_retry(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """The job wants to be run again, unless it has been too often."""
        super().handle_job_retry(job, *args, **kwargs)
        self._count(job, _failed_or_retried(job))

    def handle_job_failure(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """The job has failed, or its process has died: have it run again while it may, and count it."""
        super().handle_job_failure(job, *args, **kwargs)
        self._count(job, _failed_or_retried(job))

    def _count(self, job: Job, outcome: durations.Outcome) -> None:
        # One that can't be read fails without a name.
        with contextlib.suppress(DeserializationError):
            if job.func_name and job.started_at and job.ended_at:
                seconds = (job.ended_at - job.started_at).total_seconds()
                durations.count(self.connection, job.func_name, outcome, seconds)

    check_for_suspension = _unless_redis_is_away(Worker.check_for_suspension)
    teardown = _unless_redis_is_away(Worker.teardown)

    @_unless_redis_is_away
    def run_maintenance_tasks(self) -> None:
        """Take up again what dead workers left behind."""
        self.last_cleaned_at = now()  # type: ignore[assignment]
        try:
            maintenance.run_round(self.queues[0], self.name, self._sweep)
        except REDIS_AWAY:
            raise
        except Exception:
            self.log.exception("Worker %s: maintenance failed; the next round tries again", self.name)

    def _say_redis_is(self, *, away: Exception | None) -> None:
        if away and not self._is_redis_away:
            self.log.warning("Worker %s: Redis is away (%s), waiting for it", self.name, away)
        elif self._is_redis_away and not away:
            self.log.info("Worker %s: Redis is back", self.name)
            # Meanwhile nobody could vouch for the jobs that run: let their workers do so before any counts as
            # abandoned.
            self.last_cleaned_at = now() + timedelta(seconds=HEARTBEAT / 2)  # type: ignore[assignment]
        self._is_redis_away = away is not None
