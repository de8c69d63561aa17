"""RQ's worker, made to stop without losing a job."""

import contextlib
import functools
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from rq import Queue
from rq.job import Job
from rq.utils import as_text, get_version

from src.kit import request_id
from src.kit.queue.blocking_pop import BlockingPop
from src.kit.queue.enqueue import request_of
from src.kit.queue.live_worker import POP_TIMEOUT, LiveWorker
from src.kit.redis import REDIS_AWAY
from src.reload.lifeline import die_with

REPEATED_SIGNAL = 0.3
"""Seconds in which a second signal is the first again: Ctrl-C may come from terminal and process manager."""

LONGEST_BACKOFF = 5.0


def _go_first_when_memory_runs_out() -> None:
    """Have the kernel end this process, and not its worker, when their container's memory is used up."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("500")


class RobustWorker(LiveWorker):
    """RQ's forking worker, with these differences:

    - It stops safely. RQ's raises an exception in the signal handler, which strands a job that was taken and
      not begun. This one notes the request, has Redis wake the waiting connection (`CLIENT UNBLOCK`, which
      does nothing when a job is on its way already), runs the job that it may have got, and leaves. A second
      signal kills the job, and so does the end of its patience; another worker runs it again.
    - A job dies with its worker (`lifeline`), and is taken up again within a minute (`maintenance`).
    """

    def __init__(
        self,
        *args: Any,
        before_job: Callable[[], object] = lambda: None,
        stop_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Prepare; `work` runs it.

        Args:
            args: arguments of `LiveWorker`.
            before_job: called in the forked process before its job.
            stop_timeout: seconds that a job which is under way at a stop gets before it is killed.
            kwargs: further arguments of `LiveWorker`.
        """
        super().__init__(*args, **kwargs)
        self.on_quiet: Callable[[], object] = lambda: None
        """Called in another thread once no job begins any more; one may still run."""
        self._before_job = before_job
        self._stop_timeout = stop_timeout
        self._stop_signal_at: float | None = None
        self._takes_jobs = False
        self._popped: str | None = None
        self._job_start: int | None = None

    @functools.cached_property
    def _waiting(self) -> BlockingPop:
        return BlockingPop(self.queues[0], POP_TIMEOUT)

    # Stopping

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Register, and stop whenever it is asked to from now on."""
        threading.Thread(target=self._leave_when_asked, name="stop", daemon=True).start()
        self._install_signal_handlers()  # type: ignore[no-untyped-call]
        super().bootstrap(*args, **kwargs)

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

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process that runs the job, and all that it has started."""
        if self._horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._horse_pid, sig)
