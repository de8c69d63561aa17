"""Loads an HTTP server: `python -m bench.load HOST PORT PATH CONNECTIONS SECONDS` prints JSON.

A program of our own: wrk, oha and hey are on no bare machine and can't be had with pip; Locust can, and needs
more CPU for a request than the server. Each connection is kept, and sends its next request after each answer.
"""

import asyncio
import contextlib
import json
import sys
import time
from typing import Any

from bench.stats import p99

HEAD_ENDS = b"\r\n\r\n"


class Load:
    """What all connections saw."""

    def __init__(self, host: str, path: str) -> None:
        self.request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self.seconds: list[float] = []
        self.failed = 0
        self.is_over = False


class Connection(asyncio.Protocol):
    """Asks again and again."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: Any = None
        self._buffer = b""
        self._sent = 0.0
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, ends, body = self._buffer.partition(HEAD_ENDS)
        if not ends or len(body) < _content_length(head):
            return
        self._buffer = b""
        if self._load.is_over:
            self._transport.close()
            return
        if head.startswith(b"HTTP/1.1 200 "):
            self._load.seconds.append(time.perf_counter() - self._sent)
        else:
            self._load.failed += 1
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.failed += not self._load.is_over
        self.closed.set_result(None)


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


async def _run(host: str, port: int, path: str, connections: int, seconds: float) -> dict[str, float]:
    load, loop = Load(host, path), asyncio.get_running_loop()
    opened = [await loop.create_connection(lambda: Connection(load), host, port) for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    taken, answers = time.perf_counter() - began, list(load.seconds)
    load.is_over = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            await asyncio.gather(*(connection.closed for _, connection in opened))
    return {"rate": len(answers) / taken, "p99": p99(answers) if answers else 0, "failed": load.failed}


def main() -> None:
    """Load the server that the arguments name."""
    import uvloop

    host, port, path, connections, seconds = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_run(host, int(port), path, int(connections), float(seconds)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
