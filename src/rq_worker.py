"""The worker process: `python -m src.rq_worker`.

With RQ_WORKER_AUTORELOAD it is a supervisor, which imports none of the application, and generations of
workers, each with the code as it was when it started. Otherwise it is one worker, and watches no files.
"""

import contextlib
import importlib
import logging
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from src.kit import production
from src.kit.log import configure_logging
from src.settings import Settings, get_settings

if TYPE_CHECKING:
    from src.kit.queue.worker import RobustWorker
    from src.reload import CodeChangeMonitor
    from src.reload.generation import Generation

__all__ = ["CodeChangeMonitor", "RobustWorker", "main", "run_generation"]

logger = logging.getLogger("src.rq_worker")  # not __name__, which is __main__ here

SRC = Path(__file__).resolve().parent
CRASHED = 1


def __getattr__(name: str) -> Any:
    """Import the classes offered here at first use: the supervisor stays light without them."""
    modules = {"RobustWorker": "src.kit.queue.worker", "CodeChangeMonitor": "src.reload"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(modules[name]), name)


def main() -> int:
    """Run the worker until a signal ends it.

    Returns:
        The exit code: 0 after a stop, 1 after a crash, or after too many of them in a row.

    Raises:
        SystemExit: the settings are wrong, or not fit for production: code 2.
    """
    settings = production.checked_settings()
    if settings.rq_worker_heartbeat_file:  # one from an earlier start says nothing about this one
        settings.rq_worker_heartbeat_file.unlink(missing_ok=True)
    configure_logging(settings, role="rqworker")
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    return _supervise(settings) if settings.rq_worker_autoreload else _work(settings)


def run_generation(generation: "Generation") -> None:
    """One generation under the supervisor: load the code, wait until it can work, work until stopped."""
    configure_logging(get_settings(), role="rqworker")
    from src.kit.queue import startup
    from src.kit.readiness import wait_until_ready
    from src.reload import debugger, editor

    editor.load()
    debugger.install()
    startup.load_code()
    generation.loaded()
    wait_until_ready()
    worker = startup.make_worker()

    def on_working() -> None:
        generation.working()
        editor.connect()

    worker.on_working = on_working
    worker.on_quiet = generation.quiet
    if generation.ready(worker.stop):
        worker.work(with_scheduler=True)


def _supervise(settings: Settings) -> int:
    monitor = f"{SRC}, at least every {settings.rq_worker_check_interval} s"
    _say_steps(settings, "replaced when the code changes", "on", monitor)
    from src.reload import Supervisor

    supervisor = Supervisor(
        "src.rq_worker:run_generation",
        [SRC],
        check_interval=settings.rq_worker_check_interval,
        max_restarts=settings.rq_worker_max_restarts,
        on_problem=_publish_problem,
    )
    return supervisor.run()


def _publish_problem(code: str, problem: str) -> None:
    with contextlib.suppress(Exception):  # what is broken may be this very module; the log has it anyway
        from src.kit.queue.workers import publish_problem

        publish_problem(code, problem)


def _work(settings: Settings) -> int:
    from src.kit.queue import startup
    from src.kit.readiness import wait_until_ready

    startup.load_code()
    wait_until_ready()
    worker = startup.make_worker()
    _say_steps(settings, worker.name, "off", "none")
    worker.work(with_scheduler=True)
    return 0 if worker.stop_requested else CRASHED


def _say_steps(settings: Settings, worker: str, auto_reload: str, monitor: str) -> None:
    """Log the steps of the start, on one line."""
    logger.debug(
        "Steps: settings (%s, log level %s), signals (SIGTERM and SIGINT let the running job finish, a "
        "second one kills it), queue (%s, jobs as JSON), worker (%s), auto-reload (%s), monitor (%s)",
        settings.environment, settings.log_level, ", ".join(settings.rq_queues), worker, auto_reload, monitor,
    )  # fmt: skip


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler while no job can run yet."""
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
