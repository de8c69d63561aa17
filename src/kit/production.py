"""What production refuses: settings that are wrong, insecure or of development, all of them told at once.

`ENVIRONMENT=production` switches it on, which the compose files set and the image does not. `python -m
src.kit.production` only looks: `make prod` asks before it replaces what runs.
"""

import multiprocessing
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple, NoReturn
from urllib.parse import quote, unquote, urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from src.kit import limits
from src.reload.generation import REFUSED as REFUSED_TO_SUPERVISOR
from src.settings import Settings, get_settings

REFUSED = 2
"""Exit code of a process that must not run with these settings."""

GUNICORN_GIVES_UP = 3
"""The exit code after which Gunicorn does not start the worker again."""

SHORTEST_SECRET = 32
"""Characters that a secret needs: 128 bits where they are random hexadecimal digits."""

EXAMPLE = re.compile(
    r"change.?(?:me|this|it)|example|placeholder|replace|your.?(?:key|secret|password|token)|(?:secret|api).?key"
    r"|password|dummy|qwerty|0123456789|1234567890|(.)\1{7}",
    re.IGNORECASE,
)
"""What stands in documentation and in nobody's random secret: words, and the same character eight times."""


def checked_settings(*, reload: bool = False) -> Settings:
    """The settings of this process; with wrong ones, or with what production refuses, it ends here.

    Every mistake is told in one message on standard error, with what follows from it and what to do.

    Args:
        reload: whether the server reloads code, where only its own configuration says so.

    Raises:
        SystemExit: with `REFUSED`, or under Gunicorn with the code that it takes as final.
    """
    wrong: dict[str, str] = {}
    try:
        settings = get_settings()
    except ValidationError as error:
        wrong = {str(item["loc"][0]): _sentence(item) for item in error.errors()}
        # With a default in the place of each wrong value, the others can be looked at.
        settings = Settings(**{name: Settings.model_fields[name].get_default() for name in wrong})
    found = list(wrong.values())
    if settings.environment == "production":
        refusals = _refusals(settings, reload=reload)
        found += [str(refusal) for refusal in refusals if refusal.setting not in wrong]
    if problem := limits.job_timeout_problem(settings.job_timeout, settings.worker_stop_grace_period):
        found.append(problem)
    if found:
        _refuse(settings, found)
    return settings


def _sentence(error: ErrorDetails) -> str:
    name = ".".join(map(str, error["loc"])).upper()
    return f"{name} is wrong: {error['msg'].removeprefix('Value error, ')}."


class Refusal(NamedTuple):
    """One thing that production does not accept."""

    setting: str
    why: str
    """What is there, and what follows from it."""
    mend: str

    def __str__(self) -> str:
        return f"{self.why} {self.mend}"


def _refusals(settings: Settings, *, reload: bool) -> Iterator[Refusal]:
    if settings.rq_worker_autoreload:
        yield Refusal(
            "rq_worker_autoreload",
            "RQ_WORKER_AUTORELOAD is on: the worker would run on real data whatever is saved.",
            "Set RQ_WORKER_AUTORELOAD=false.",
        )
    if reload or _server_reloads():
        yield Refusal(
            "reload",
            "The API server reloads code: unfinished code would serve, and watching costs time.",
            "Take --reload from its command line and from GUNICORN_CMD_ARGS, unset UVICORN_RELOAD, and let "
            "GUNICORN_CONFIG name settings without reload, such as gunicorn.conf.py.",
        )
    if settings.debug:
        yield Refusal(
            "debug", "DEBUG is on: errors would show code and data to everybody.", "Set DEBUG=false."
        )
    if settings.log_level == "debug":
        yield Refusal(
            "log_level",
            "LOG_LEVEL is debug: the log would grow fast and may hold data.",
            "Set LOG_LEVEL=info.",
        )
    yield from _refused_secrets(settings)
    if _is_sqlite(settings) and not settings.allow_sqlite:
        yield Refusal(
            "database_url",
            "DATABASE_URL is SQLite: replicas on other machines would each have data of their own.",
            "Use Postgres, or set ALLOW_SQLITE=true where everything runs on one machine.",
        )
    if "*" in settings.allowed_hosts:
        yield Refusal(
            "allowed_hosts",
            "ALLOWED_HOSTS allows every name: a foreign page could reach the API by a name of its own.",
            "List the names under which it is reached.",
        )
    if "*" in settings.cors_origins:
        yield Refusal(
            "cors_origins",
            "CORS_ORIGINS allows every page: any could use the API from its visitors' browsers.",
            "List the origins whose pages may.",
        )


def _refused_secrets(settings: Settings) -> Iterator[Refusal]:
    random = "`openssl rand -hex 32` makes a random one."
    database_lack = None if _is_sqlite(settings) else _lack(urlsplit(settings.database_url).password)
    if database_lack:
        why = f"DATABASE_PASSWORD {database_lack}: others could read and change the data."
        yield Refusal("database_password", why, random)
    if redis_lack := _lack(urlsplit(settings.redis_url).password):
        why = f"REDIS_PASSWORD {redis_lack}: others could put jobs of their own into the queue."
        yield Refusal("redis_password", why, random)
    if not settings.api_keys:
        why = "API_KEYS has no key: everybody could read and change everything."
        yield Refusal("api_keys", why, f"Put one into the file that API_KEYS_FILE names; {random}")
    for number, key in enumerate(settings.api_keys, 1):
        if lack := _lack(quote(key.get_secret_value())):
            why = f"Key {number} of API_KEYS {lack}: others could read and change everything."
            yield Refusal("api_keys", why, random)


def _is_sqlite(settings: Settings) -> bool:
    return settings.database_url.startswith("sqlite")


def _lack(quoted: str | None) -> str | None:
    """What is wrong with a secret, as a URL holds it; never the secret itself."""
    secret = unquote(quoted or "")
    if not secret:
        return "is missing"
    lacks = []
    if EXAMPLE.search(secret):
        lacks.append("is an example that everybody knows")
    if len(secret) < SHORTEST_SECRET:
        lacks.append(f"is shorter than {SHORTEST_SECRET} characters")
    return " and ".join(lacks) or None


def _server_reloads() -> bool:
    """Whether the command line or the environment of Uvicorn or Gunicorn asks for it."""
    with suppress(ValueError):  # Gunicorn says by itself what is wrong with it
        arguments = shlex.split(os.environ.get("GUNICORN_CMD_ARGS", ""))
        if "--reload" in [*sys.argv, *arguments]:
            return True
    return os.environ.get("UVICORN_RELOAD", "").lower() in ("1", "true", "t", "yes", "y", "on")


def _refuse(settings: Settings, found: list[str]) -> NoReturn:
    """Tell what was found, and end this process and what would start it again."""
    lines = [f"This can't start in {settings.environment}:", *(f"- {sentence}" for sentence in found)]
    if settings.environment == "production":
        lines.append("Set ENVIRONMENT=development where this is not production.")
    sys.stderr.write("\n".join(lines) + "\n")
    sys.stderr.flush()
    if multiprocessing.current_process().name.startswith("generation-"):
        sys.exit(REFUSED_TO_SUPERVISOR)
    parent = multiprocessing.parent_process()
    if parent and parent.pid:
        # Uvicorn's reloader would wait for a save, its `--workers` start the next one. Not SIGTERM: after it
        # they end with code 0, as if all were well.
        with suppress(ProcessLookupError):  # another of its processes was faster
            os.kill(parent.pid, signal.SIGKILL)
    sys.exit(GUNICORN_GIVES_UP if "gunicorn.arbiter" in sys.modules else REFUSED)


if __name__ == "__main__":
    checked_settings()
