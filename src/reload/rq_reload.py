"""`rq worker` with a hand-over: RQ's own command line, worker class and options."""

import contextlib
import functools
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from redis.exceptions import ConnectionError as RedisIsAway
from redis.exceptions import RedisError, ResponseError
from rq.cli import cli, workers

from .protocol import AT_ONCE

if TYPE_CHECKING:
    from .generation import Generation

LONGEST_WAIT = 5
"""Seconds for which a worker waits for a job before it looks whether it has to stop."""

SCHEDULER_INTERVAL = 2.0
"""Seconds between two attempts to become the scheduler."""


def parse(arguments: list[str], supervise: Callable[[], None]) -> None:
    """Have RQ read its command line, and call back if nothing is wrong with it."""
    workers.worker.callback = lambda **_: supervise()
    cli.main(arguments, prog_name="rq")


def work(generation: "Generation", arguments: list[str], modules: list[str]) -> None:
    """Import the modules, and run RQ's command line with a worker that hands over.

    Raises:
        Exception: why there is no worker, as far as it is the code.
    """
    sys.path.insert(0, os.getcwd())
    for module in modules:
        importlib.import_module(module)
    helpers: Any = importlib.import_module("rq.cli.helpers")
    import_class = helpers.import_worker_class

    def import_worker_class(path: str) -> Any:
        worker_class = import_class(path)

        @functools.wraps(worker_class, updated=())
        def make(*args: Any, **options: Any) -> Any:
            if options.get("name"):  # two of them overlap, and a name is unique
                options["name"] += f"-{os.getpid()}"
            return HandOver(generation, worker_class(*args, **options)).worker

        return make

    helpers.import_worker_class = import_worker_class
    try:
        cli.main(arguments, prog_name="rq", standalone_mode=False)
    except SystemExit as error:  # RQ has logged the reason
        if isinstance(error.__context__, RedisIsAway):
            os._exit(1)  # it is not the code: the worker is started again
        raise error.__context__ or error from None


class HandOver:
    """Has a worker of any class work when its supervisor says so, and stop without losing a job.

    At a signal, RQ's worker raises an exception, which strands a job that it has taken but not begun. Here it
    notes the request, its wait in Redis is ended, and it finishes the job that it may have got.
    """

    def __init__(self, generation: "Generation", worker: Any) -> None:
        """Replace methods of this worker, and not its class, which `SpawnWorker` has to find by its name."""
        self.worker = worker
        self._generation = generation
        self._dequeue = worker.dequeue_job_and_maintain_ttl
        self._may_begin = False
        """Whether a job may begin: the worker waits for one, or has one that does not run yet."""
        self._is_stopping = False
        self._schedule_at = 0.0
        worker.dequeue_job_and_maintain_ttl = self._dequeue_until_stopped
        worker._install_signal_handlers = self._install_signal_handlers
        for name, wrap in (
            ("work", self._work),
            ("bootstrap", self._bootstrap),
            ("monitor_work_horse", self._begin),
            ("perform_job", self._begin),  # of a worker without a process for each job
        ):
            if method := getattr(worker, name, None):
                setattr(worker, name, functools.partial(wrap, method))

    def _work(self, work: Callable[..., bool], *args: Any, **options: Any) -> bool:
        self._generation.loaded()
        return self._generation.ready(self._stop) and work(*args, **options)

    def _bootstrap(self, bootstrap: Callable[..., None], *args: Any) -> None:
        bootstrap(*args)
        self._generation.working()

    def _begin(self, begin: Callable[..., Any], *args: Any) -> Any:
        self._may_begin = False
        return begin(*args)

    def _dequeue_until_stopped(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        self._may_begin, job = True, None
        ends = time.monotonic() + (max_idle_time or float("inf"))
        while not (job or self.worker._stop_requested or time.monotonic() >= ends):
            with contextlib.suppress(RedisError):  # RQ's wait handles it
                self.worker.connection.client_setname(self.worker.name)
                self._become_scheduler()
            try:
                job = self._dequeue(timeout, min(max_idle_time or LONGEST_WAIT, LONGEST_WAIT))
            except ResponseError:
                if not self._is_stopping:
                    raise
            if timeout is None:  # a burst
                break
        self._may_begin = bool(job)
        return job

    def _become_scheduler(self) -> None:
        """RQ tries it at the start, when the generation before still is it, and then every ten minutes."""
        scheduler = self.worker.scheduler
        if scheduler and time.monotonic() >= self._schedule_at:
            self._schedule_at = time.monotonic() + SCHEDULER_INTERVAL
            if not (scheduler._process and scheduler._process.is_alive()):
                scheduler.acquire_locks(auto_start=True)

    def _stop(self) -> None:
        """Let the worker finish its job, and exit; waits until it takes no other one."""
        self._is_stopping = True
        self.worker._stop_requested = True
        while self._may_begin:
            with contextlib.suppress(RedisError):  # such as where Redis refuses it: then it waits to the end
                for client in self.worker.connection.client_list():
                    if client["name"] == self.worker.name:
                        # As an error, so that it does not wait again. A job that is on its way still arrives.
                        self.worker.connection.client_unblock(client["id"], error=True)
            time.sleep(0.01)
        self._generation.quiet()
        if self.worker.scheduler:
            self.worker.stop_scheduler()

    def _install_signal_handlers(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=self._stop, daemon=True).start())
        signal.signal(AT_ONCE, self._kill)

    def _kill(self, number: int, _frame: object) -> None:
        if self.worker.horse_pid:
            self.worker.kill_horse()
        os._exit(128 + number)
