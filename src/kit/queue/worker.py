"""RQ's worker, extended to stop without losing a job."""

import contextlib
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
from rq.utils import get_version, now

from src.kit import request_id
from src.kit.queue.blocking_pop import BlockingPop
from src.kit.queue.job import fetch_or_fail
from src.kit.queue.lifeline import die_with
from src.kit.queue.live_worker import POP_TIMEOUT, LiveWorker
from src.kit.queue.spare import Spare
from src.kit.redis import REDIS_AWAY
from src.reload import editor, pause
from src.reload.protocol import REPEATED_SIGNAL

LONGEST_BACKOFF = 5.0


def _prefer_to_be_killed() -> None:
    """Have the kernel kill this process, and not its worker, when their container runs out of memory."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("500")


class RobustWorker(LiveWorker):
    """RQ's forking worker, with these differences:

    - It stops safely. RQ's raises an exception in the signal handler, which strands a job that was taken but
      not begun. This one notes the request, ends its wait (`BlockingPop`), runs the job that it may have got,
      and exits. A second signal kills the job, and so does `stop_timeout`; another worker runs it again.
    - A job dies with its worker (`lifeline`), and is recovered within a minute (`maintenance`).
    - Several queues are waited for without BLPOP, which may lose a job. Of several workers, one takes none of
      the last queue (`Spare`).

    `tests/kit/rq_differences.toml` lists the tests of RQ that differ, with the reasons; all others pass.
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
            before_job: called in the forked process before its job.
            stop_timeout: seconds after which a stop kills the running job.
        """
        super().__init__(*args, **kwargs)
        self.on_quiet: Callable[[], object] = lambda: None
        """Called in another thread once no further job begins; one may still be running."""
        self._waiting = BlockingPop(self.connection, self._stop)
        self._spare = Spare(self.name, self.queues, self.connection, self.worker_ttl)
        self._before_job = before_job
        self._stop_timeout = stop_timeout
        self._stop_signal_at: float | None = None
        self._takes_jobs = False
        self._popped: tuple[str, Queue] | None = None
        self._queue: Queue | None = None
        self._job_start: int | None = None
        self._began: int | None = None

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Register; from now on the worker stops when it is asked to."""
        self._stop.clear()  # the end of earlier work set it
        if self._stop_requested:
            self._stop.set()
        threading.Thread(target=self._stop_when_asked, name="stop", daemon=True).start()
        self._install_signal_handlers()  # type: ignore[no-untyped-call]
        super().bootstrap(*args, **kwargs)

    @property
    def stop_requested(self) -> bool:
        """Whether the worker was told to stop."""
        return self._stop_requested

    def stop(self) -> None:
        """Finish the running job, then exit. Safe to call in threads and signal handlers."""
        self._stop_requested = True
        self._stop.set()

    def request_stop(self, signum: int, _frame: FrameType | None) -> None:
        """Signal handler: stop; a second signal kills the job, too, which another worker then runs again."""
        if self._stop_signal_at is None:
            self._stop_signal_at = time.monotonic()
            self._shutdown_requested_date = now()
            self.stop()
        elif time.monotonic() - self._stop_signal_at >= REPEATED_SIGNAL:
            self.kill_horse()
            os._exit(128 + signum)

    def _stop_when_asked(self) -> None:
        """Wait for the request to stop, wake up the main thread, and report when no further job begins."""
        self._stop.wait()
        if not self._stop_requested:  # the end of a burst
            return
        self.log.info("Worker %s: stopping, after the running job if there is one", self.name)
        while self._takes_jobs and not self._has_job_begun():
            time.sleep(0.002)
        self.on_quiet()
        with contextlib.suppress(*REDIS_AWAY):
            self._spare.give_up()
            self.connection.hset(self.key, "leaving", 1)
            for queue in self.queues:
                self.connection.srem(f"rq:workers:{queue.name}", self.key)
        if self._shutdown_requested_date:
            with contextlib.suppress(*REDIS_AWAY):
                self.set_shutdown_requested_date()  # type: ignore[no-untyped-call]
        if self._stop_timeout is not None:
            left = self._stop_timeout
            while left > 0:
                time.sleep(min(left, 1))
                left -= 0 if pause.is_paused() else 1
            if self._horse_pid:
                self.log.warning(
                    "Worker %s: the job has not ended in %g s: killed", self.name, self._stop_timeout
                )
                self.kill_horse()

    def _has_job_begun(self) -> bool:
        """Whether the job that was taken is running: its process has closed the pipe."""
        try:
            return self._job_start is not None and bool(select.select([self._job_start], [], [], 0)[0])
        except (OSError, ValueError):  # closed since: the job has even ended
            return True

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a job, for as long as it takes; None if the worker has to stop."""
        self._takes_jobs = True
        deadline = None if max_idle_time is None else time.monotonic() + max_idle_time
        backoff = 0.25
        while not self._stop_requested:
            try:
                self._show_idle()
                left = POP_TIMEOUT if deadline is None else max(0, deadline - time.monotonic())
                taken = self._take_job(timeout and min(left, POP_TIMEOUT))
                self._note_redis(away=None)
                backoff = 0.25
                if taken:
                    job, queue = taken
                    # Also in the job's forked process; a job without a request uses its own id.
                    request_id.use(str(job.meta.get("request_id") or job.id))
                    if self.log_job_description:
                        self.log.info(
                            "Worker %s: %s: %s (%s)", self.name, queue.name, job.description, job.id
                        )
                    else:  # nor the function: a job whose data can't be read has none
                        self.log.info("Worker %s: %s: %s", self.name, queue.name, job.id)
                    return taken
            except REDIS_AWAY as error:
                self._note_redis(away=error)
                self._stop.wait(backoff)
                backoff = min(backoff * 2, LONGEST_BACKOFF)
            if timeout is None or (deadline and time.monotonic() >= deadline):
                break
        self._takes_jobs = False
        return None

    def _take_job(self, seconds: float | None) -> tuple[Job, Queue] | None:
        job = None
        while not job:  # a job that is gone, or can't be read, must not end a burst
            queues = self._ordered_queues if seconds is None else self._spare.served(self._ordered_queues)
            self._popped = self._popped or self._waiting.pop(queues, seconds)
            if not self._popped:
                return None
            job_id, queue = self._popped
            if queue.name == self.queues[-1].name:
                self._spare.give_up()
            job = fetch_or_fail(queue, job_id, self.job_class, self.serializer)
            if job:
                job.redis_server_version = get_version(self.connection)
                self.reorder_queues(queue)
            else:
                queue.intermediate_queue.remove(job_id)
            self._popped = None
        return job, queue

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Stay registered for `worker_ttl` seconds."""
        super().heartbeat(timeout, pipeline)
        if pipeline is not None:
            self._spare.keep(pipeline)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job in its own process and wait for it."""
        try:
            super().execute_job(job, queue)
        except REDIS_AWAY as error:
            self._note_redis(away=error)
        finally:
            request_id.use(None)
            self._takes_jobs = False
            if self._job_start is not None:
                start, self._job_start = self._job_start, None
                os.close(start)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Fork the process that runs the job, in its own process group."""
        receiver, self._began = os.pipe()
        pause.share_with_child()
        super().fork_work_horse(job, queue)
        os.close(self._began)
        self._began = None
        self._job_start = receiver
        with contextlib.suppress(OSError):  # it did so itself, or is already gone
            os.setpgid(self._horse_pid, self._horse_pid)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The forked process: run the job, and die with the worker."""
        die_with(self.pid or 0)
        _prefer_to_be_killed()
        if editor.follow_fork():
            job.timeout = -1  # no limit
        self._before_job()
        self._queue = queue
        super().main_work_horse(job, queue)

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:  # noqa: ARG002
        """The last step before the job begins, in the forked process; the worker sees it."""
        super().prepare_job_execution(job, remove_from_intermediate_queue=True)
        if self._queue and self._queue.name != job.origin:  # such as in a queue that was renamed
            self._queue.intermediate_queue.remove(job.id)
        if self._began is not None:  # else it runs in the worker's own process
            os.close(self._began)

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the process that runs the job, and all processes that it has started."""
        if self._horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._horse_pid, sig)
