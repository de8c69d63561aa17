"""Clients of the edge that never stop: no request of theirs may fail, and no job may be lost or run twice."""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.conftest import wait_until
from tests.template.docker import engine, sales
from tests.template.running import Running

seeds = itertools.count(9000)
LARGE = b"x\n" * (10 * 1024 * 1024)
SLOW_JOB = """
import time

from rq import get_current_job

from src.kit.queue.enqueue import job
from src.kit.redis import get_redis


@job()
def sleep(seconds: float) -> None:
    time.sleep(seconds)
    get_redis().rpush("slept", get_current_job().id)
"""
"""The module `src/slow/jobs.py` of the clone."""


class Clients:
    """Eight clients: kept and new connections, two event streams, small imports, and uploads of 20 MB."""

    def __init__(self, running: Running, *, may_break: bool = False) -> None:
        """Start nothing yet.

        Args:
            running: the production stack, with `SLOW_JOB`.
            may_break: whether a process may be killed that holds a stream or receives a file, which is
                then sent again.
        """
        self._may_break = may_break
        self.failures: list[str] = []
        self.requests: Counter[str] = Counter()
        self.longest = 0.0
        self._running, self._rows = running, 0
        self._imports: list[str] = []
        self._slow: list[str] = []
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._key = (running.folder / "secrets" / "api_keys").read_text("ascii").split()[0]
        kinds: list[Callable[[], None]] = [self._keep, self._keep, self._renew, self._renew]
        kinds += [self._stream, self._stream, self._import, self._upload]
        self._threads = [threading.Thread(target=self._guard, args=(kind,)) for kind in kinds]

    def __enter__(self) -> Self:
        self._rows = self._stored()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object, **__: TracebackType) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            self._check()

    def start_slow_job(self, seconds: int) -> None:
        """Enqueue a job that takes a while."""
        program = "from src.kit.queue.enqueue import enqueue; from src.slow.jobs import sleep; "
        program += f"print(enqueue(sleep, {seconds}).id)"
        self._slow.append(self._running.inside("fastapi", "python", "-c", program).split()[-1])

    def _check(self) -> None:
        assert self.failures == [], f"{len(self.failures)} of {self.requests}, {self.failures[:5]}"
        assert min(self.requests[kind] for kind in ("_keep", "_renew", "_stream", "_import", "_upload")) > 0

        def are_done() -> bool:
            found = self._running.get("/api/v1/sales/imports?limit=1000") or []
            ended = {each["id"] for each in found if each["status"] in ("finished", "failed")}
            return ended >= {*self._imports}

        wait_until(are_done, 180, "the end of all imports")
        assert self._stored() - self._rows == 50 * self.requests["_import"], "each row once"

        def slept() -> Counter[str]:
            command = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli lrange slept 0 -1"
            ids = self._running.inside("redis", "sh", "-c", command).split()
            return Counter(each for each in ids if each in self._slow)

        wait_until(lambda: sum(slept().values()) >= len(self._slow), 180, "the end of the slow jobs")
        assert slept() == Counter(self._slow), "each job once"

    def _stored(self) -> int:
        return int(engine.sql(self._running, "SELECT count(*) FROM sales_lines"))

    def _guard(self, client: Callable[[], None]) -> None:
        while not self._stopped.wait(0.2):
            try:
                client()
                with self._lock:
                    self.requests[client.__name__] += 1
            except (OSError, http.client.HTTPException, AssertionError) as error:
                if not (self._may_break and client.__name__ == "_stream"):
                    self.failures.append(f"{client.__name__}: {error!r}")

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b""
    ) -> bytes:
        headers = {"X-API-Key": self._key}
        if body:
            headers["Content-Type"] = "multipart/form-data; boundary=limit"
            head = b'--limit\r\nContent-Disposition: form-data; name="file"; filename="f.csv"\r\n\r\n'
            body = head + body + b"\r\n--limit--\r\n"
        began = time.monotonic()
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        answer = response.read()
        if method == "GET":
            self.longest = max(self.longest, time.monotonic() - began)
        assert response.status < 400, f"{response.status} {answer[:200]!r}"
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._running.port, timeout=60)

    def _keep(self) -> None:
        connection = self._connection()
        for _ in range(50):
            self._ask(connection, "GET", "/api/v1/sales/summary?group_by=country")
            if self._stopped.wait(0.1):
                return

    def _renew(self) -> None:
        self._ask(self._connection(), "GET", "/health/ready")

    def _import(self) -> None:
        content, _ = sales.generated(50, next(seeds))
        self._send(content)
        self._stopped.wait(1)

    def _upload(self) -> None:
        content = b"%d\n" % next(seeds) + LARGE  # another file each time, refused once a worker looks into it
        self._send(content)
        self._stopped.wait(10)

    def _send(self, content: bytes) -> None:
        """Send a file, up to five times if the process may break: the same file stays one import."""
        for left in reversed(range(5 if self._may_break else 1)):
            try:
                answer = self._ask(self._connection(), "POST", "/api/v1/sales/imports", content)
                self._imports.append(json.loads(answer)["id"])
                return
            except (OSError, http.client.HTTPException, AssertionError):
                if not left:
                    raise

    def _stream(self) -> None:
        """A stream may end by the server's word, but not be cut off."""
        connection = self._connection()
        connection.request("GET", "/queue/events", headers={"X-API-Key": self._key})
        response = connection.getresponse()
        assert response.status == 200
        connection.sock.settimeout(1)
        while not self._stopped.is_set():
            try:
                if not response.read1(65536):
                    return
            except TimeoutError:
                return  # nothing has changed; http.client can't read on after a timeout
