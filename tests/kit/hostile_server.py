"""The API as it runs in production, driven byte by byte: Gunicorn with its own settings, and its log."""

import http.client
import io
import os
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.kit.production_process import GUNICORN, Api, started

LEAKS = re.compile(
    rb"Traceback|File \\?\"|/src/|site-packages|/tmp/|/dev/shm|sqlalchemy|sqlite|psycopg|pydantic|starlette"
    rb"|redis://|\bSELECT\b|\bINSERT\b|\bUPDATE\b| at 0x[0-9a-f]{6}"
)
"""What no answer may contain."""

FAULTS = re.compile(r"Traceback \(most recent call last\)|Exception in ASGI|\bERROR\b|\bCRITICAL\b")
"""What the log contains only after a fault of the server."""


@dataclass(frozen=True)
class Answer:
    """One HTTP response."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes

    @property
    def is_problem(self) -> bool:
        """Whether it is a problem from the application, not a plain error of the server."""
        return self.headers.get("content-type") == "application/problem+json"


class Server(Api):
    """Gunicorn with two workers, driven byte by byte."""

    def __init__(self, folder: Path, environment: dict[str, str], app: str) -> None:
        self.temp = folder / "api-tmp"
        self.temp.mkdir()
        self._log_seen = 0
        super().__init__(
            folder, [*GUNICORN, app], environment | {"WEB_CONCURRENCY": "2", "TMPDIR": str(self.temp)}
        )

    def new_log(self) -> str:
        """What was logged since the last call."""
        with self.output.open("rb") as file:
            file.seek(self._log_seen)
            new = file.read()
        self._log_seen += len(new)
        return new.decode("utf-8", errors="replace")

    def processes(self) -> list[psutil.Process]:
        """The master and its workers."""
        return [psutil.Process(self.process.pid), *self.workers()]

    def memory(self) -> int:
        """Resident memory of all its processes, in MiB."""
        sizes: list[int] = [process.memory_info().rss for process in self.processes()]
        return sum(sizes) >> 20

    def connect(self, seconds: float = 20) -> socket.socket:
        """A connection with a timeout in seconds."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def exchange(self, request: bytes | Iterable[bytes], seconds: float = 20) -> list[Answer]:
        """Send bytes on a new connection, and return all answers until the server closes it."""
        with closing(self.connect(seconds)) as connection:
            # A client that is still sending when the server closes gets its answer all the same.
            with suppress(ConnectionResetError, BrokenPipeError):
                for piece in [request] if isinstance(request, bytes) else request:
                    connection.sendall(piece)
            return list(answers(connection))

    def get(self, path: str, *headers: str) -> Answer:
        """The answer to a GET with these header lines."""
        (answer,) = self.exchange(get(path, *headers))
        return answer

    def assert_unharmed(self, processes: list[psutil.Process]) -> None:
        """Nothing went wrong, nothing is left over, and the same processes go on serving."""
        assert self.get("/health/live").status == 200
        assert self.processes() == processes
        assert not FAULTS.search(log := self.new_log()), log
        assert list(self.temp.iterdir()) == []


def get(path: str, *headers: str) -> bytes:
    """A GET after which the server closes the connection."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def assert_tells_nothing(answer: Answer) -> None:
    """The answer reveals nothing about the inside, and says what is wrong."""
    assert not LEAKS.search(answer.body), answer.body
    if answer.status >= 400:
        assert answer.status < 500, answer.body
        assert answer.is_problem or answer.headers.get("content-type", "").startswith("text/plain"), answer


def answers(connection: socket.socket) -> Iterator[Answer]:
    """All answers on a connection, until the server closes it."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    stream = _Stream(bytes(received))
    while stream.tell() < len(received):
        response = http.client.HTTPResponse(stream)  # type: ignore[arg-type]
        response.begin()
        yield Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


class _Stream(io.BytesIO):
    """Received bytes as http.client wants them: as a socket that stays open."""

    def makefile(self, _mode: str) -> "_Stream":
        return self

    def close(self) -> None:
        pass


@contextmanager
def running_api(
    folder: Path, redis_url: str, database_url: str, app: str = "src.main:app", **settings: str
) -> Iterator[Server]:
    """Run the API.

    Args:
        folder: for its log and its temporary files; must exist.
        redis_url: the Redis that it uses.
        database_url: the database that it uses, with all tables where the tests need them.
        app: what Gunicorn serves.
        settings: environment variables.
    """
    environment = dict(os.environ) | {"ENVIRONMENT": "development"} | settings
    environment |= {"REDIS_URL": redis_url, "DATABASE_URL": database_url}
    with started(Server(folder, environment, app), workers=2) as server:
        server.new_log()
        yield server
