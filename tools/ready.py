"""Prints the URLs, once, when the stack is ready."""

import http.client
import json
import time
from collections.abc import Callable

from tools import project, secret_files
from tools.console import say

_HINT_AFTER = 60.0


def urls(port: int, site: str | None = None) -> str:
    """The lines with the URLs."""
    base = f"https://{site}" if site else f"http://localhost:{port}"
    return f"Ready.\n  Page   {base}/\n  Docs   {base}/docs\n  Health {base}/health/ready"


def announce(port: int, gone: Callable[[], bool]) -> None:
    """Wait until the API is ready and a worker has reported to it, then print the URLs.

    Args:
        port: the API's on this machine.
        gone: whether the stack has ended, which ends the wait.
    """
    hint_at = time.monotonic() + _HINT_AFTER
    while not gone():
        problem = _problem(port)
        if problem is None:
            if not gone():
                say(urls(port))
            return
        if time.monotonic() > hint_at:
            say(f"Still waiting for the stack to be ready: {problem}.")
            hint_at += _HINT_AFTER
        time.sleep(0.3)


def _problem(port: int) -> str | None:
    try:
        status, body = get(port, "/health/ready")
        if status != 200:
            return f"/health/ready answers {status}: {body.decode(errors='replace')[:500]}"
        status, body = get(port, "/version")
        if status == 200 and json.loads(body).get("workers") == []:
            return "no worker has reported yet"
    except (OSError, http.client.HTTPException) as error:
        return f"the API does not answer yet ({error})"
    return None


def get(port: int, path: str) -> tuple[int, bytes]:
    """The status and the body that the API answers.

    Raises:
        OSError, http.client.HTTPException: it does not.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        # Production requires it, development ignores it.
        connection.request("GET", path, headers={"X-API-Key": secret_files.api_key(project.SECRETS)})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
