"""A limit on how much is under way at once: in this process, and for each address of a client."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from fastapi import HTTPException
from starlette.types import Scope

from src.kit.settings import get_settings


class AtOnce:
    """Counts what is under way, such as uploads, by the client's address.

    Args:
        what: its name, in the plural.
        setting: the setting that limits it in a process; the one with `_per_client` limits it for an address.
    """

    def __init__(self, what: str, setting: str) -> None:
        self.by_client: Counter[str] = Counter()
        self._what, self._setting = what, setting

    @contextmanager
    def counted(self, scope: Scope) -> Iterator[None]:
        """Count one while the block runs.

        Raises:
            HTTPException: 429 if this client has too many, 503 if all clients together have.
        """
        most, client = self._setting, (scope.get("client") or [""])[0]
        if self.by_client[client] >= getattr(get_settings(), f"{most}_per_client"):
            problem = (
                f"Your address has as many {self._what} open as it may have; wait until one ends. If a "
                "proxy's address counts for all of its clients, name the proxy in FORWARDED_ALLOW_IPS; "
                f"{most.upper()}_PER_CLIENT is the limit."
            )
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, problem, {"Retry-After": "5"})
        if self.by_client.total() >= getattr(get_settings(), most):
            problem = (
                f"As many {self._what} are open as this process serves ({most.upper()}). Try again soon."
            )
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, problem, {"Retry-After": "5"})
        self.by_client[client] += 1
        try:
            yield
        finally:
            self.by_client[client] -= 1
            if not self.by_client[client]:
                del self.by_client[client]
