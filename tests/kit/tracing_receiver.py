"""A small receiver of what OpenTelemetry and Sentry send, and the packages with which processes send it."""

import gzip
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT


class Span(NamedTuple):
    """A span, with its ids as hexadecimal digits."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    is_error: bool


class Receiver(ThreadingHTTPServer):
    """Keeps the path and the body of each POST."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, bytes]] = []
        self.address = f"127.0.0.1:{self.server_port}"

    def spans(self) -> list[Span]:
        """The spans of all OTLP requests; the numbers are those of OpenTelemetry's trace.proto."""
        found = []
        for body in (body for path, body in self.received if path == "/v1/traces"):
            for group in _values(body, 1):
                attributes = [
                    _fields(each) for resource in _values(group, 1) for each in _values(resource, 1)
                ]
                names = [
                    _values(value, 1)[0]
                    for key, value in map(dict.values, attributes)
                    if key == b"service.name"
                ]
                for span in (_fields(span) for scope in _values(group, 2) for span in _values(scope, 2)):
                    trace, own, parent = (span.get(number, b"").hex() for number in (1, 2, 4))
                    is_error = _fields(span.get(15, b"")).get(3) == 2
                    found.append(Span(names[0].decode(), span[5].decode(), trace, own, parent, is_error))
        return found

    def errors(self) -> list[str]:
        """What Sentry got to know: `KeyError: 'text'` and the like."""
        lines = (line for _, body in self.received for line in body.splitlines() if b'"exception"' in line)
        errors = [json.loads(line)["exception"]["values"][-1] for line in lines]
        return [f"{error['type']}: {error['value']}" for error in errors]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def _fields(message: bytes) -> dict[int, Any]:
    return dict(_parsed(message))


def _values(message: bytes, number: int) -> list[bytes]:
    return [value for each, value in _parsed(message) if each == number]


def _parsed(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and values of a message in Protobuf's wire format."""
    data = io.BytesIO(message)

    def varint() -> int:
        value = shift = 0
        while byte := data.read(1):
            value |= (byte[0] & 127) << shift
            shift += 7
            if byte[0] < 128:
                break
        return value

    while data.tell() < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        else:
            yield number, data.read({1: 8, 5: 4}.get(kind) or varint())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port."""
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        yield receiver
        receiver.shutdown()


@pytest.fixture(scope="session")
def extra(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which a process finds the packages of the extra `tracing`."""
    if importlib.util.find_spec("opentelemetry.sdk") and importlib.util.find_spec("sentry_sdk"):
        return {}
    folder = tmp_path_factory.mktemp("tracing")
    base, every = ((ROOT / f"requirements{part}.txt").read_text() for part in ("", "-tracing"))
    pins = {block.partition("==")[0]: block for block in re.split(r"(?m)^(?=[a-z0-9])", every)[1:]}
    wanted = [block for name, block in pins.items() if f"\n{name}==" not in base]
    (folder / "lock").write_text("".join(wanted))
    pip = ["uv", "pip"] if shutil.which("uv") else [sys.executable, "-m", "pip"]
    options = [
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--target",
        str(folder),
        "-r",
        str(folder / "lock"),
    ]
    result = subprocess.run([*pip, "install", *options], capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip("the packages of the extra tracing could not be installed")
    return {"PYTHONPATH": str(folder)}
