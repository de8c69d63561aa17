"""One id for everything that a request causes: its log lines, its response, and its jobs."""

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"

_SANE = re.compile(r"[\w.:/+=@~-]{1,128}", re.ASCII)
_current: ContextVar[str | None] = ContextVar("request_id", default=None)


def current() -> str | None:
    """The id of the request that this code works for, or None."""
    return _current.get()


def use(request_id: str | None) -> None:
    """Set the request that this thread or task, and what it starts, works for."""
    _current.set(request_id)


def new() -> str:
    """A new, unique id."""
    return uuid.uuid4().hex


def accept(sent: str | None) -> str:
    """The id that a client sent, or a new one if it sent none or one that is unsafe to log."""
    return sent if sent and _SANE.fullmatch(sent) else new()
