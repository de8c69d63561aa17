"""RQ's worker, made to stop without losing a job, to outlive Redis, and to say which code it runs."""

import contextlib
import functools
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from redis import Redis
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.utils import as_text, get_version, now
from rq.worker import WorkerStatus

from src import job_metrics, request_id, rq_maintenance
from src.blocking_pop import BlockingPop
from src.job_queue import REDIS_AWAY, request_of
from src.reload.lifeline import die_with
from src.reload.wakeup import Wakeup

logger = logging.getLogger(__name__)

HEARTBEAT = 10
"""Seconds between two heartbeats of a worker that is busy."""

TIME_TO_LIVE = 25
"""Seconds after its last heartbeat in which a worker, or a job that it runs, counts as alive."""

POP_TIMEOUT = 5
"""Seconds that an idle worker waits for a job before its next heartbeat."""

REPEATED_SIGNAL = 0.3
"""Seconds in which a second signal is the first again: Ctrl-C may come from terminal and process manager."""

LONGEST_BACKOFF = 5.0

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


def _go_first_when_memory_runs_out() -> None:
    """Have the kernel end this process, and not its worker, when their container's memory is used up."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("500")


def _failed_or_retried(job: Job) -> job_metrics.Outcome:
    status = job.get_status(refresh=False)
    return "retried" if status in (JobStatus.QUEUED, JobStatus.SCHEDULED) else "failed"


class RobustWorker(Worker):
    """RQ's forking worker, with these differences:

    - It stops safely. RQ's raises an exception in the signal handler, which strands a job that was taken and
      not begun. This one notes the request, has Redis wake the waiting connection (`CLIENT UNBLOCK`, which
      does nothing when a job is on its way already), runs the job that it may have got, and leaves. A second
      signal kills the job, and so does the end of its patience; another worker runs it again.
    - A job dies with its worker (`lifeline`), and is taken up again within a minute (`rq_maintenance`).
    - While Redis is away it waits, and registers anew when Redis has forgotten it.
    - Its hash in Redis tells `code` and `loaded_at`.
    """

    def __init__(
        self,
        queues: Any,
        name: str | None = None,
        *args: Any,
        code: str = "",
        loaded_at: datetime | None = None,
        before_job: Callable[[], object] = lambda: None,
        sweep: Callable[[], None] = lambda: None,
        heartbeat_file: Path | None = None,
        stop_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepare; `work` runs it.

        Args:
            queues: the queue.
            name: unique among all workers; by default the host's name with something random.
            args: further arguments of RQ's worker.
            code: fingerprint of the code.
            loaded_at: when the code was loaded.
            before_job: called in the forked process before its job.
            sweep: called in maintenance, every few seconds by one worker of all.
            heartbeat_file: touched at each heartbeat that Redis has taken, for health checks.
            stop_timeout: seconds that a job which is under way at a stop gets before it is killed.
            kwargs: further arguments of RQ's worker.
        """
        kwargs = {"job_monitoring_interval": HEARTBEAT, "worker_ttl": TIME_TO_LIVE} | kwargs
        super().__init__(queues, name or f"{socket.gethostname()}-{uuid4().hex[:8]}", *args, **kwargs)
        self.maintenance_interval = rq_maintenance.INTERVAL
        # The first jobs come first, then the first maintenance.
        since = timedelta(seconds=rq_maintenance.INTERVAL - FIRST_MAINTENANCE)
        self.last_cleaned_at = now() - since  # type: ignore[assignment]
        self.on_working: Callable[[], object] = lambda: None
        """Called once it is registered."""
        self.on_quiet: Callable[[], object] = lambda: None
        """Called in another thread once no job begins any more; one may still run."""
        self._code = code
        self._loaded_at = loaded_at
        self._before_job = before_job
        self._sweep = sweep
        self._heartbeat_file = heartbeat_file
        self._stop_timeout = stop_timeout
        self._stop = Wakeup()
        self._stop_signal_at: float | None = None
        self._takes_jobs = False
        self._popped: str | None = None
        self._job_start: int | None = None
        self._is_redis_away = False

    @functools.cached_property
    def _waiting(self) -> BlockingPop:
        return BlockingPop(self.queues[0], POP_TIMEOUT)

    # Stopping

    @property
    def stop_requested(self) -> bool:
        """Whether it was told to stop."""
        return self._stop_requested

    def stop(self) -> None:
        """Finish the job that runs, then leave. Safe to call in threads and signal handlers."""
        self._stop_requested = True
        self._stop.set()

    def request_stop(self, signum: int, _frame: FrameType | None) -> None:
        """Signal handler: stop; a second signal ends the job, too, which other workers then run again."""
        if self._stop_signal_at is None:
            self._stop_signal_at = time.monotonic()
            self.stop()
        elif time.monotonic() - self._stop_signal_at >= REPEATED_SIGNAL:
            self.kill_horse()
            os._exit(128 + signum)

    def _leave_when_asked(self) -> None:
        """Wait for the request to stop, wake the main thread up, and tell when no job begins any more."""
        self._stop.wait()
        stop_by = time.monotonic() + (self._stop_timeout or 0)
        self.log.info("Worker %s: stopping, after the running job if there is one", self.name)
        while self._takes_jobs:
            with contextlib.suppress(*REDIS_AWAY):
                self._waiting.interrupt()
            if self._has_job_begun():
                break
            time.sleep(0.002)
        self.on_quiet()
        if self._stop_timeout is not None:
            time.sleep(max(0.0, stop_by - time.monotonic()))
            if self._horse_pid:
                self.log.warning(
                    "Worker %s: the job has not ended in %g s: killed", self.name, self._stop_timeout
                )
                self.kill_horse()

    def _has_job_begun(self) -> bool:
        """Whether the job that was taken is being run: its process has let go of the pipe."""
        try:
            return self._job_start is not None and bool(select.select([self._job_start], [], [], 0)[0])
        except (OSError, ValueError):  # closed since: it has ended, even
            return True

    # Taking a job

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job, for as long as it takes; None when the worker is to leave."""
        self._takes_jobs = True
        deadline = None if max_idle_time is None else time.monotonic() + max_idle_time
        backoff = 0.25
        while not self._stop_requested:
            try:
                self._look_alive()
                job = self._take_job(blocking=timeout is not None)
                self._say_redis_is(away=None)
                backoff = 0.25
                if job:
                    # From here on also in the process of the job, which is forked.
                    request_id.use(request_of(job))
                    self.log.info("Worker %s: %s (%s)", self.name, job.description, job.id)
                    return job, self.queues[0]
            except REDIS_AWAY as error:
                self._say_redis_is(away=error)
                self._stop.wait(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF)
            if timeout is None or (deadline and time.monotonic() >= deadline):
                break
        self._takes_jobs = False
        return None

    def _take_job(self, *, blocking: bool) -> Job | None:
        queue = self.queues[0]
        if blocking:
            self._popped = self._popped or self._waiting.pop(lambda: not self._stop_requested)
        else:
            taken = self.connection.lmove(queue.key, queue.intermediate_queue_key)
            self._popped = as_text(taken) if taken else None
        if not self._popped:
            return None
        job = queue.fetch_job(self._popped)
        if job:
            job.redis_server_version = get_version(self.connection)
        else:
            queue.intermediate_queue.remove(self._popped)
        self._popped = None
        return job

    # Running it

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job in a process of its own and wait for it."""
        try:
            super().execute_job(job, queue)
        except REDIS_AWAY as error:
            self._say_redis_is(away=error)
        finally:
            request_id.use(None)
            self._takes_jobs = False
            if self._job_start is not None:
                start, self._job_start = self._job_start, None
                os.close(start)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork the process that runs the job, in a process group of its own."""
        receiver, self._began = os.pipe()
        super().fork_work_horse(job, queue)
        os.close(self._began)
        self._job_start = receiver
        with contextlib.suppress(OSError):  # it has done so itself, or is gone already
            os.setpgid(self._horse_pid, self._horse_pid)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The forked process: runs the job and dies with its worker."""
        die_with(self.pid or 0)
        _go_first_when_memory_runs_out()
        self._before_job()
        super().main_work_horse(job, queue)

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """The last step before the job begins, in the forked process; lets the worker know."""
        super().prepare_job_execution(job, remove_from_intermediate_queue)
        os.close(self._began)

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

    def _count(self, job: Job, outcome: job_metrics.Outcome) -> None:
        if job.started_at and job.ended_at:
            seconds = (job.ended_at - job.started_at).total_seconds()
            job_metrics.count(self.connection, job.func_name or "", outcome, seconds)

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process that runs the job, and all that it has started."""
        if self._horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._horse_pid, sig)

    # Being alive

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Register, once Redis is there."""
        threading.Thread(target=self._leave_when_asked, name="stop", daemon=True).start()
        self._install_signal_handlers()  # type: ignore[no-untyped-call]
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

    check_for_suspension = _unless_redis_is_away(Worker.check_for_suspension)
    teardown = _unless_redis_is_away(Worker.teardown)

    @_unless_redis_is_away
    def run_maintenance_tasks(self) -> None:
        """Take up again what dead workers left behind."""
        self.last_cleaned_at = now()  # type: ignore[assignment]
        try:
            rq_maintenance.run_round(self.queues[0], self.name, self._sweep)
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
