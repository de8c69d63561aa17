"""One line an event on standard output, at once; the same wording in every process."""

import logging
import logging.config
import logging.handlers
import sys

from src.settings import Settings

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def configure_logging(settings: Settings, role: str) -> None:
    """Send this process' log to standard output, and to `LOG_DIR/<role>.log` where that is set.

    Uvicorn and Gunicorn keep the handlers that they bring for their own loggers.

    Args:
        settings: gives the level and the folder.
        role: name of the process, such as `fastapi` or `rqworker`.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    lack = None
    if settings.log_dir:
        try:
            settings.log_dir.mkdir(parents=True, exist_ok=True)
            handlers.append(logging.handlers.WatchedFileHandler(settings.log_dir / f"{role}.log"))
        except OSError as error:
            lack = error
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=handlers, force=True)
    if lack:
        logging.getLogger(__name__).warning("No log file, since LOG_DIR can't be written: %s", lack)
    logging.captureWarnings(capture=True)
    # It says at each start which plugins it has.
    logging.getLogger("alembic.runtime.plugins").setLevel("WARNING")
    level = settings.log_level.upper()
    logging.getLogger("src").setLevel(level)
    # RQ's own debug log is about RQ: a dozen lines a job.
    logging.getLogger("rq").setLevel("INFO" if level == "DEBUG" else level)
