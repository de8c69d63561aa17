"""Three clients of the edge: `python -m tools.probe_clients PORT`.

They ask until the standard input ends. Each line of the output is `Counts` as JSON.
"""

import http.client
import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass

from tools import project, secret_files

_PAUSE = 0.05
"""Seconds between two requests of one client."""

_PATIENCE = 30.0


@dataclass
class Counts:
    """What the clients have counted; the longest wait is in seconds."""

    requests: int = 0
    failed: int = 0
    longest: float = 0.0
    first_failure: str = ""


class Clients:
    """Three clients: one keeps its connection, one opens a new one for each request, one reads a stream."""

    def __init__(self, port: int) -> None:
        """Start nothing yet.

        Args:
            port: the edge's, on this machine.
        """
        self._counts = Counts()
        self._port = port
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        clients: list[Callable[[], None]] = [self._keep, self._connect, self._read_stream]
        self._threads = [threading.Thread(target=client, daemon=True) for client in clients]

    def start(self) -> None:
        """Begin to ask."""
        self._ask(self._connection())  # does not count: it waits for modules that Python loads for it
        self._counts = Counts()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop asking, and wait for the answers that are still to come."""
        self._stopped.set()
        for thread in self._threads[:2]:  # the stream may say nothing for long
            thread.join()

    def tell(self) -> None:
        """Print what was counted."""
        with self._lock:
            counted = astuple(self._counts)
        print(json.dumps(counted), flush=True)

    def _keep(self) -> None:
        connection = self._connection()
        while not self._stopped.wait(_PAUSE):
            self._ask(connection)
        connection.close()

    def _connect(self) -> None:
        while not self._stopped.wait(_PAUSE):
            connection = self._connection()
            self._ask(connection)
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> None:
        began, problem = time.monotonic(), ""
        try:
            connection.request("GET", "/health/ready")
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                problem = f"{response.status} {body.decode(errors='replace')[:200]}"
        except (OSError, http.client.HTTPException) as error:
            problem = f"{type(error).__name__}: {error}"
            connection.close()
        self._count(problem, time.monotonic() - began)

    def _read_stream(self) -> None:
        """Read the queue's page as it changes.

        A stream may end by the server's word, and a browser opens the next; one that is cut off has failed.
        """
        while not self._stopped.wait(_PAUSE):
            connection, problem = self._connection(), ""
            began, answered = time.monotonic(), 0.0
            try:
                connection.request("GET", "/queue/events", headers=self._key())
                response = connection.getresponse()
                answered = time.monotonic() - began
                if response.status != 200:
                    problem = f"event stream: {response.status}"
                while response.status == 200 and response.read1(65536) and not self._stopped.is_set():
                    pass
            except TimeoutError:
                pass  # nothing has changed in the queue
            except (OSError, http.client.HTTPException) as error:
                problem = f"event stream: {type(error).__name__}: {error}"
            connection.close()
            self._count(problem, answered)

    def _count(self, problem: str, seconds: float) -> None:
        with self._lock:
            counts = self._counts
            counts.requests += 1
            counts.longest = max(counts.longest, seconds)
            if problem and not self._stopped.is_set():
                counts.failed += 1
                counts.first_failure = counts.first_failure or problem

    def _key(self) -> dict[str, str]:
        return {"X-API-Key": secret_files.api_key(project.SECRETS)}

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)


def _await_end(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def main() -> None:
    """Ask, and tell ten times a second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever reads this decides
    clients, ended = Clients(int(sys.argv[1])), threading.Event()
    clients.start()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    while not ended.wait(0.1):
        clients.tell()
    clients.stop()
    clients.tell()


if __name__ == "__main__":
    main()
