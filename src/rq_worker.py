"""The worker process: `python -m src.rq_worker`.

With RQ_WORKER_AUTORELOAD it is a supervisor that imports nothing of the application, and generations of
workers, each with the code as it was when it started. Without, it is one worker, and nothing is watched.
"""

import gc
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from src.kit import limits, production
from src.kit.log import configure_logging
from src.settings import Settings, get_settings

if TYPE_CHECKING:
    from src.kit.queue.worker import RobustWorker
    from src.reload.generation import Generation
    from src.reload.monitor import CodeChangeMonitor

__all__ = ["CodeChangeMonitor", "RobustWorker", "generation", "main"]

logger = logging.getLogger("src.rq_worker")  # not __name__, which is __main__ when this is run

SRC = Path(__file__).resolve().parent
CRASHED = 1

LONGEST_PAUSE = 1.0
"""Seconds between two looks at whether everything is there."""


def __getattr__(name: str) -> Any:
    """The worker's class and the monitor, at first use: the supervisor does without either at import."""
    if name == "RobustWorker":
        from src.kit.queue.worker import RobustWorker

        return RobustWorker
    if name == "CodeChangeMonitor":
        from src.reload import CodeChangeMonitor

        return CodeChangeMonitor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main() -> int:
    """Run the worker until a signal ends it.

    Returns:
        The exit code: 0 after a stop, 1 when it crashed, or did so too often.

    Raises:
        SystemExit: the settings are wrong, or not fit for production: code 2.
    """
    settings = production.checked_settings()
    if settings.rq_worker_heartbeat_file:  # that of an earlier start says nothing about this one
        settings.rq_worker_heartbeat_file.unlink(missing_ok=True)
    configure_logging(settings, role="rqworker")
    _step("settings", "environment %s, log level %s", settings.environment, settings.log_level)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    _step("signals", "SIGTERM and SIGINT let the running job finish, a second one kills it")
    _step("queue", "%s, jobs as JSON", settings.rq_queue)
    if settings.rq_worker_autoreload:
        return _supervise(settings)
    return _work()


def generation(generation: "Generation") -> None:
    """One generation under the supervisor: load the code, wait until it can work, work until told to stop."""
    configure_logging(get_settings(), role="rqworker")
    make_worker = _load()
    generation.loaded()
    _wait_until_ready()
    worker = make_worker()
    worker.on_working = generation.working
    worker.on_quiet = generation.quiet
    if generation.ready(worker.stop):
        worker.work()


def _supervise(settings: Settings) -> int:
    _step("worker", "one at work in a process of its own, replaced when the code changes")
    _step("auto-reload", "on")
    _step("monitor", "%s, at least every %s s", SRC, settings.rq_worker_check_interval)
    from src.reload import Supervisor  # here, because a generation does without

    supervisor = Supervisor(
        "src.rq_worker:generation",
        [SRC],
        check_interval=settings.rq_worker_check_interval,
        max_restarts=settings.rq_worker_max_restarts,
    )
    return supervisor.run()


def _work() -> int:
    make_worker = _load()
    _wait_until_ready()
    worker = make_worker()
    _step("worker", "%s", worker.name)
    _step("auto-reload", "off")
    _step("monitor", "none")
    worker.work()
    return 0 if worker.stop_requested else CRASHED


def _load() -> "Callable[[], RobustWorker]":
    """Import all that a job may need, so that a forked job finds it loaded.

    The application is imported here and not at the top, because the supervisor runs this module, too.
    """
    from src.kit.database.engine import begin_job
    from src.kit.queue.enqueue import get_queue, import_jobs, run_sweeps
    from src.kit.queue.worker import RobustWorker
    from src.kit.redis import get_redis
    from src.kit.running import running_code

    import_jobs()
    loaded = running_code()
    grace = get_settings().worker_stop_grace_period
    gc.freeze()  # what is loaded stays, so that forked jobs need not look through it, and share its memory
    return lambda: RobustWorker(
        get_queue(),
        connection=get_redis(),
        serializer=get_queue().serializer,
        code=loaded.code,
        loaded_at=loaded.loaded_at,
        before_job=begin_job,
        sweep=run_sweeps,
        heartbeat_file=get_settings().rq_worker_heartbeat_file,
        stop_timeout=grace and limits.worker_stop(grace),
    )


def _wait_until_ready() -> None:
    """Wait for Redis and the database, and say what for, once for each reason."""
    from src.kit.readiness import readiness_problems

    said: list[str] = []
    pause = 0.1
    while problems := readiness_problems():
        if problems != said:
            logger.warning("Waiting before the first job: %s", " ".join(problems))
            said = problems
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)
    if said:
        logger.info("Nothing to wait for any more")


def _step(name: str, detail: str, *arguments: object) -> None:
    logger.debug("Step %s: " + detail, name, *arguments)  # noqa: G003


def _leave(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Signal handler while no job can run."""
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main())
