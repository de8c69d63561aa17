"""RQ's worker, extended to survive outages of Redis, to show that it is alive, and to report its code."""

import contextlib
import socket
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis
from rq import Queue, Worker
from rq.exceptions import DeserializationError
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import now
from rq.worker import WorkerStatus

from src.kit.queue import durations, maintenance
from src.kit.queue.job import RobustJob, overrun
from src.kit.queue.scheduler import Scheduler
from src.kit.redis import REDIS_AWAY
from src.reload import pause
from src.reload.wakeup import Wakeup

HEARTBEAT = 10
"""Seconds between two heartbeats of a busy worker."""

TIME_TO_LIVE = 25
"""Seconds after its last heartbeat during which a worker, or the job that it runs, counts as alive."""

POP_TIMEOUT = 5
"""Seconds that an idle worker waits for a job before its next heartbeat."""


def _failed_or_retried(job: Job) -> durations.Outcome:
    status = job.get_status(refresh=False)
    return "retried" if status in (JobStatus.QUEUED, JobStatus.SCHEDULED) else "failed"


class LiveWorker(Worker):
    """RQ's worker as seen from outside: in Redis, in the log and by its heartbeat file.

    - While Redis is away it waits, and registers again if Redis has forgotten it.
    - Its maintenance recovers within a minute what dead workers left behind (`maintenance`). The first round
      is a second after the start. A worker without a heartbeat for `worker_ttl`, 25 s by default, is dead.
    - Its hash in Redis has the fields `code` and `loaded_at`.
    - RQ's scheduler runs in a thread (`scheduler`).
    """

    job_class = RobustJob

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
            queues: the queues, or their names, by priority.
            name: unique among all workers; by default the host's name and a random suffix.
            code: fingerprint of the code.
            loaded_at: when the code was loaded.
            sweep: called in maintenance, every few seconds by one of all workers.
            heartbeat_file: touched at each heartbeat, for health checks; Redis has to accept the first one.
        """
        kwargs = {
            "job_monitoring_interval": HEARTBEAT,
            "worker_ttl": kwargs.get("default_worker_ttl", TIME_TO_LIVE),
            "maintenance_interval": maintenance.INTERVAL,
        } | kwargs
        super().__init__(queues, name or f"{socket.gethostname()}-{uuid4().hex[:8]}", *args, **kwargs)
        # The first maintenance is in a second, after the first jobs.
        since = timedelta(seconds=self.maintenance_interval - 1)
        self.last_cleaned_at = now() - since  # type: ignore[assignment]
        self.on_working: Callable[[], object] = lambda: None
        """Called once the worker is registered."""
        self._code = code
        self._loaded_at = loaded_at
        self._sweep = sweep
        self._heartbeat_file = heartbeat_file
        self._stop = Wakeup()
        """Set when the worker is asked to stop; it ends every pause."""
        self._is_redis_away = False
        self._killed_with: int | None = None
        self._scheduler: Scheduler | None = None

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Register, as soon as Redis answers."""
        while not self._stop_requested:
            try:
                self.connection.delete(self.key)  # an earlier attempt may have left it
                super().bootstrap(*args, **kwargs)
            except REDIS_AWAY as error:
                self._note_redis(away=error)
                self._stop.wait(1)
            else:
                self.on_working()
                return

    def _start_scheduler(self, burst: bool = False, *_args: Any, **_kwargs: Any) -> None:
        scheduler = Scheduler(self.name, self.queues, self.connection, self._stop)
        if burst:
            scheduler.run_once()
        else:
            scheduler.start()
            self._scheduler = scheduler

    def unsubscribe(self) -> None:
        """Listen to no more commands. RQ stops the thread last, and then has to wait until it wakes up."""
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
        """Seconds that a command may take; RQ extends it for waiting, which uses another connection here."""
        return POP_TIMEOUT

    def serialize(self) -> dict[str, Any]:
        """The worker's hash in Redis."""
        loaded_at = self._loaded_at.isoformat() if self._loaded_at else ""
        return super().serialize() | {"code": self._code, "loaded_at": loaded_at}

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:  # noqa: ARG002
        """Stay registered for `worker_ttl` seconds."""
        if pipeline is not None:
            super().heartbeat(self.worker_ttl, pipeline)
            return
        with contextlib.suppress(*REDIS_AWAY), self.connection.pipeline(transaction=False) as at_once:
            super().heartbeat(self.worker_ttl, at_once)
            at_once.execute()
            self._touch_heartbeat_file()

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Heartbeat of a worker whose job is running, and of the job."""
        if pause.is_paused() and job.started_at:  # RQ kills a job a minute after its time limit
            job.started_at += timedelta(seconds=self.job_monitoring_interval)
        try:
            super().maintain_heartbeats(job, execution)
        except REDIS_AWAY as error:
            self._note_redis(away=error)
        else:
            self._note_redis(away=None)

    def _touch_heartbeat_file(self) -> None:
        if self._heartbeat_file:
            self._heartbeat_file.touch()

    def _show_idle(self) -> None:
        """Heartbeat, registration and maintenance of an idle worker."""
        with self.connection.pipeline(transaction=False) as pipeline:
            self.set_state(WorkerStatus.IDLE, pipeline)
            super().heartbeat(self.worker_ttl, pipeline)
            pipeline.hexists(self.key, "birth")
            is_registered = pipeline.execute()[-1]
        self._touch_heartbeat_file()
        if self.birth_date and not is_registered:
            self.connection.hset(self.key, mapping=self.serialize())  # type: ignore[arg-type]
            self.connection.sadd(self.redis_workers_keys, self.key)
            for queue in self.queues:
                self.connection.sadd(f"rq:workers:{queue.name}", self.key)
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        """Seconds for which the job counts as running without another heartbeat."""
        return int(max(self.worker_ttl, self.job_monitoring_interval + TIME_TO_LIVE - HEARTBEAT))

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """The job's process has died: note how much memory it had."""
        self._killed_with = rusage and rusage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """The job has finished: record and count it."""
        super().handle_job_success(job, *args, **kwargs)
        self._count(job, "finished")

    def handle_job_retry(self, job: Job, *args: Any, **kwargs: Any) -> None:
        """The job asks for a retry, and gets it unless it had too many."""
        super().handle_job_retry(job, *args, **kwargs)
        self._count(job, _failed_or_retried(job))

    def handle_job_failure(
        self,
        job: Job,
        queue: Queue,
        started_job_registry: Any = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        """The job has failed, or its process has died: retry it while it has retries left, and count it."""
        if self._killed_with is not None:
            exc_string += f"{overrun(job)}it had {self._killed_with / 2**20:.0f} MiB of memory"
            self.log.warning("Job %s: %s", job.id, exc_string)
            self._killed_with = None
        super().handle_job_failure(job, queue, started_job_registry, exc_string, execution)
        self._count(job, _failed_or_retried(job))

    def _count(self, job: Job, outcome: durations.Outcome) -> None:
        # A job that can't be read fails without a name.
        with contextlib.suppress(DeserializationError):
            if job.func_name and job.started_at and job.ended_at:
                seconds = (job.ended_at - job.started_at).total_seconds()
                durations.count(self.connection, job.func_name, outcome, seconds)

    def check_for_suspension(self, burst: bool) -> None:
        """Wait while RQ is suspended; without Redis nobody knows, and waiting for a job logs it."""
        with contextlib.suppress(*REDIS_AWAY):
            super().check_for_suspension(burst)

    def teardown(self) -> None:
        """Unregister; without Redis, that is left to the maintenance of other workers."""
        self._stop.set()
        if self._scheduler:
            self._scheduler.join()
        with contextlib.suppress(*REDIS_AWAY):
            super().teardown()  # type: ignore[no-untyped-call]

    def run_maintenance_tasks(self) -> None:
        """Recover what dead workers left behind; an outage of Redis leaves it to the next round."""
        self.last_cleaned_at = now()  # type: ignore[assignment]
        with contextlib.suppress(*REDIS_AWAY):
            maintenance.run_round(self.queues, self.name, self._sweep, self._exc_handlers)

    def _note_redis(self, *, away: Exception | None) -> None:
        if self._heartbeat_file and self._heartbeat_file.exists():  # it has been ready once
            self._heartbeat_file.touch()
        if away and not self._is_redis_away:
            self.log.warning("Worker %s: Redis is away (%s), waiting for it", self.name, away)
        elif self._is_redis_away and not away:
            self.log.info("Worker %s: Redis is back", self.name)
            # Running jobs had no heartbeats meanwhile: give their workers time before one is abandoned.
            self.last_cleaned_at = now() + timedelta(seconds=HEARTBEAT / 2)  # type: ignore[assignment]
        self._is_redis_away = away is not None
