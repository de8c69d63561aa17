"""What production refuses: settings that are invalid, insecure or for development, all reported at once.

`ENVIRONMENT=production` switches it on; the compose files set that, the image does not. `python -m
src.kit.production` only checks, as the API does: `make prod` runs it before it replaces what is running.
"""

import multiprocessing
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn
from urllib.parse import quote, unquote, urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from src.kit import limits, tracing
from src.reload.protocol import REFUSED as REFUSED_TO_SUPERVISOR
from src.reload.protocol import is_generation
from src.settings import Settings, get_settings

REFUSED = 2
"""Exit code of a process that must not run with these settings."""

GUNICORN_GIVES_UP = 3
"""The exit code after which Gunicorn does not start the worker again."""

SHORTEST_SECRET = 32
"""Characters in the shortest secret that is accepted: 128 bits if they are random hexadecimal digits."""

PLACEHOLDER = re.compile(
    r"change.?(?:me|this|it)|example|placeholder|replace|your.?(?:key|secret|password|token)|(?:secret|api).?key"
    r"|password|dummy|qwerty|0123456789|1234567890|(.)\1{7}",
    re.IGNORECASE,
)
"""Words from documentation that no random secret contains, and eight times the same character."""


def checked_settings(*, serves: bool = False, reload: bool = False) -> Settings:
    """The settings of this process, which ends here if they are invalid, or if production refuses them.

    One message on standard error lists every mistake, its consequence and the fix.

    Args:
        serves: whether this process is the API, which needs keys.
        reload: whether the server reloads code, for a server whose own configuration says so.

    Raises:
        SystemExit: with `REFUSED`, or with the code after which Gunicorn or the supervisor gives up.
    """
    invalid: dict[str, str] = {}
    try:
        settings = get_settings()
    except ValidationError as error:
        invalid = {str(item["loc"][0]): _sentence(item) for item in error.errors()}
        # With a default in place of each invalid value, the others can be checked.
        settings = Settings(**{name: Settings.model_fields[name].get_default() for name in invalid})
    mistakes = list(invalid.values())
    if "redis_url" not in invalid:
        mistakes += _unused(settings)
    if settings.environment == "production":
        refusals = _refusals(settings, serves=serves, reload=reload)
        # Each begins with a setting's name; the default in place of an invalid one is not the user's mistake.
        mistakes += [each for each in refusals if each.partition(" ")[0].lower() not in invalid]
    if problem := limits.job_timeout_problem(settings.job_timeout, settings.worker_stop_grace_period):
        mistakes.append(problem)
    mistakes += tracing.missing_packages(settings)
    if mistakes:
        _refuse(settings, mistakes)
    return settings


def _sentence(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"])).upper()
    return f"{name} is wrong: {error['msg'].removeprefix('Value error, ')}."


def _unused(settings: Settings) -> Iterator[str]:
    for name, scheme in (("redis_ca_file", "rediss"), ("redis_sentinel_password", "+sentinel")):
        if getattr(settings, name) and scheme not in urlsplit(settings.redis_url).scheme:
            yield f"{name.upper()} is set, but REDIS_URL is not a {scheme} URL: change one of them."


def _refusals(settings: Settings, *, serves: bool, reload: bool) -> Iterator[str]:
    """What is set, the consequence and the fix, for each setting that production refuses."""
    if settings.rq_worker_autoreload:
        yield "RQ_WORKER_AUTORELOAD is on: saves would run on real data. Set RQ_WORKER_AUTORELOAD=false."
    if reload or _server_reloads():
        yield (
            "The API server reloads code: it would serve unfinished code, and watching costs time. Remove "
            "--reload from its command line and from GUNICORN_CMD_ARGS, unset UVICORN_RELOAD, and set "
            "GUNICORN_CONFIG to a file without reload, such as gunicorn.conf.py."
        )
    if settings.debug:
        yield "DEBUG is on: errors would show code and data to everyone. Set DEBUG=false."
    if settings.log_level == "debug":
        yield "LOG_LEVEL is debug: the log would grow fast and may contain private data. Set LOG_LEVEL=info."
    if settings.log_format:
        yield "LOG_FORMAT is set: in production the log is JSON, for programs to read. Remove LOG_FORMAT."
    yield from _refused_secrets(settings, serves=serves)
    if _is_sqlite(settings) and not settings.allow_sqlite:
        yield (
            "DATABASE_URL is SQLite: replicas on other machines would each have their own data. Use "
            "Postgres, or set ALLOW_SQLITE=true if everything runs on one machine."
        )
    if not _is_sqlite(settings) and (problem := limits.connections_problem(settings)):
        yield problem
    if problem := limits.uploads_problem(settings):
        yield problem
    if "*" in settings.allowed_hosts:
        yield (
            "ALLOWED_HOSTS allows every name: a foreign page could reach the API under its own name. List "
            "the names under which the API is reached."
        )
    if "*" in settings.cors_origins:
        yield (
            "CORS_ORIGINS allows every page: any page could use the API from its visitors' browsers. List "
            "the origins whose pages may use it."
        )


def _refused_secrets(settings: Settings, *, serves: bool) -> Iterator[str]:
    others, fix = "others could read and change everything.", "`openssl rand -hex 32` makes a random one."
    database = None if _is_sqlite(settings) else _secret_problem(urlsplit(settings.database_url).password)
    if database:
        yield f"DATABASE_PASSWORD {database}: {others} {fix}"
    if redis := _secret_problem(urlsplit(settings.redis_url).password):
        yield f"REDIS_PASSWORD {redis}: others could enqueue their own jobs. {fix}"
    if serves and not settings.api_keys:
        yield f"API_KEYS has no key: {others} Put one into the file that API_KEYS_FILE names; {fix}"
    for number, key in enumerate(settings.api_keys, 1):
        if problem := _secret_problem(quote(key.secret.get_secret_value())):
            yield f"Key {number} of API_KEYS {problem}: {others} {fix}"


def _is_sqlite(settings: Settings) -> bool:
    return settings.database_url.startswith("sqlite")


def _secret_problem(quoted: str | None) -> str | None:
    """What is wrong with a secret, given as it is quoted in a URL; never the secret itself."""
    secret = unquote(quoted or "")
    if not secret:
        return "is missing"
    problems = []
    if PLACEHOLDER.search(secret):
        problems.append("is an example that everybody knows")
    if len(secret) < SHORTEST_SECRET:
        problems.append(f"is shorter than {SHORTEST_SECRET} characters")
    return " and ".join(problems) or None


def _server_reloads() -> bool:
    """Whether the command line or the environment tells Uvicorn or Gunicorn to reload."""
    with suppress(ValueError):  # Gunicorn itself reports what is wrong with it
        arguments = shlex.split(os.environ.get("GUNICORN_CMD_ARGS", ""))
        if "--reload" in [*sys.argv, *arguments]:
            return True
    return os.environ.get("UVICORN_RELOAD", "").lower() in ("1", "true", "t", "yes", "y", "on")


def _refuse(settings: Settings, mistakes: list[str]) -> NoReturn:
    """Report the mistakes, and end this process and whatever would start it again."""
    lines = [f"This can't start in {settings.environment}:", *(f"- {mistake}" for mistake in mistakes)]
    if settings.environment == "production":
        lines.append("Set ENVIRONMENT=development if this is not production.")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
    if is_generation():
        sys.exit(REFUSED_TO_SUPERVISOR)
    parent = multiprocessing.parent_process()
    if parent and parent.pid:
        # Uvicorn's reloader would wait for a save, its `--workers` would start the next process. Not SIGTERM:
        # after it they exit with code 0, as if all were well.
        with suppress(ProcessLookupError):  # another of its processes was faster
            os.kill(parent.pid, signal.SIGKILL)
    sys.exit(GUNICORN_GIVES_UP if "gunicorn.arbiter" in sys.modules else REFUSED)


if __name__ == "__main__":
    checked_settings(serves=True)
