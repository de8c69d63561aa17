"""The log: one line per event on standard output, in the same format in every process; JSON in production."""

import logging
import logging.config
import logging.handlers
import os
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from src.kit import request_id
from src.kit.settings import KitSettings

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

COLORS = {logging.DEBUG: 2, logging.WARNING: 33, logging.ERROR: 31, logging.CRITICAL: 31}

ROUTINE = frozenset(
    {
        "Started server process [%d]",
        "Waiting for application startup.",
        "Shutting down",
        "Waiting for application shutdown.",
        "Application shutdown complete.",
        "Worker %s: started with PID %d, version %s",
        "Worker %s: subscribing to channel %s",
        "Worker %s: unsubscribing from channel %s",
        "Worker %s: job %s result is kept for %s seconds",
        "Successfully completed %s job in %ss on worker %s",  # beside "Job OK"
        "Context impl %s.",
        "Will assume %s DDL.",
    }
)
"""What Uvicorn, RQ and Alembic log at each start, stop and job, by its format; development leaves it out."""

logger = logging.getLogger(__name__)


class Lines(logging.Formatter):
    """Plain text, in development; a line's color tells its level."""

    def __init__(self, *, has_colors: bool) -> None:
        super().__init__(FORMAT)
        self._colors = COLORS if has_colors else {}

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        line = super().formatMessage(record).replace("uvicorn.error: ", "uvicorn: ", 1)  # nor is it an error
        color = self._colors.get(record.levelno)
        return f"\033[{color}m{line}\033[0m" if color else line


class JsonLines(JsonFormatter):
    """One JSON object per line: time (UTC), request_id if there is one, level, logger, message, extras."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
            # Uvicorn's copy of its message, with colors.
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
        )

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        if current := request_id.current():
            log_data["request_id"] = current
        super().add_fields(log_data, record, message_dict)


def configure_logging(settings: KitSettings, role: str) -> None:
    """Send this process' log to standard output, and to `LOG_DIR/<role>.log` if LOG_DIR is set.

    In development Gunicorn keeps the handlers of its own loggers.

    Args:
        settings: the level, the folder, and the format, which in production is JSON.
        role: name of the process, such as `fastapi` or `rqworker`.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    problem = None
    if settings.log_dir:
        try:
            settings.log_dir.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.handlers.WatchedFileHandler(settings.log_dir / f"{role}.log"))
        except OSError as error:
            problem = error
    for handler in handlers:
        # Otherwise a process that is forked while another thread writes would wait for that thread forever.
        os.register_at_fork(before=handler.acquire, after_in_parent=handler.release)
    if settings.environment == "production":
        write_json(handlers)
    else:
        _write_lines(handlers, settings.log_format)
    logging.getLogger().setLevel(logging.INFO)
    if problem:
        logger.warning("No log file, because LOG_DIR can't be written: %s", problem)
    logging.captureWarnings(capture=True)
    # It lists its plugins at each start.
    logging.getLogger("alembic.runtime.plugins").setLevel("WARNING")
    level = settings.log_level.upper()
    logging.getLogger("src").setLevel(level)
    # RQ's debug log is about RQ itself: a dozen lines per job.
    logging.getLogger("rq").setLevel("INFO" if level == "DEBUG" else level)


def _write_lines(handlers: list[logging.Handler], log_format: str | None) -> None:
    to_terminal, *to_file = handlers
    to_terminal.setFormatter(
        Lines(has_colors=log_format == "color" or (not log_format and sys.stdout.isatty()))
    )
    for handler in to_file:
        handler.setFormatter(Lines(has_colors=False))
    for handler in handlers:
        handler.addFilter(_is_news)
    logging.basicConfig(handlers=handlers, force=True)
    for name in ("uvicorn", "uvicorn.access"):
        server = logging.getLogger(name)
        server.handlers, server.propagate = [], True


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line says more than that a process starts or stops, or that a health check has passed."""
    if record.name == "uvicorn.access" and isinstance(record.args, tuple):
        *_, path, _version, status = record.args
        return status != 200 or not str(path).startswith("/health/")
    return record.msg not in ROUTINE


def write_json(handlers: list[logging.Handler]) -> None:
    """Write everything that this process logs as JSON, including the servers' lines and uncaught exceptions.

    The servers' access logs are turned off: they have no request id, and may contain query strings.
    `RequestObserver` writes the access log instead.
    """
    for handler in handlers:
        handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=handlers, force=True)
    for name in ("gunicorn.error", "uvicorn", "uvicorn.error", "gunicorn.access", "uvicorn.access"):
        server = logging.getLogger(name)
        server.handlers = [] if name.endswith("access") else handlers
        server.propagate = False
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda hook: _log_uncaught(hook.exc_type, hook.exc_value, hook.exc_traceback)


def _log_uncaught(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error or kind(), traceback)
    else:
        logger.critical("Uncaught %s", kind.__name__, exc_info=(kind, error or kind(), traceback))
