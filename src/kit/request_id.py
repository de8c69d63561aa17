"""One id for all that a request sets off: its log lines, its answer, and the jobs that it leads to."""

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"

_SANE = re.compile(r"[\w.:/+=@~-]{1,128}", re.ASCII)
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """The id of the request that this code works for, None if it works for none."""
    return _current.get()


def use(request_id: str | None) -> None:
    """Work for this request from now on, in this thread or task and in what it starts."""
    _current.set(request_id)


def new() -> str:
    """An id that nobody else has."""
    return uuid.uuid4().hex


def accept(sent: str | None) -> str:
    """The id that a client sent, or a new one where it sent none, or one that does not belong in a log."""
    return sent if sent and _SANE.fullmatch(sent) else new()
