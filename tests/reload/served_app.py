"""A small application, served by `python -m src.reload uvicorn`."""

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.conftest import ROOT, wait_until
from tests.kit.processes import start
from tools.ports import free_port

APP = """
import asyncio
from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

VERSION = {version}
app = FastAPI()

@app.get("/")
def index():
    return VERSION

@app.post("/slow")
async def slow(seconds: float):
    await asyncio.sleep(seconds)
    return VERSION

@app.get("/stream")
async def stream():
    async def forever():
        while True:
            yield b"tick"
            await asyncio.sleep(0.05)
    return StreamingResponse(forever())

@app.websocket("/socket")
async def endless(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.send_text("tick")
        await asyncio.sleep(0.05)
"""


class Api:
    """A served application in a folder of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.version = 0
        self.save()
        self.port = free_port()
        self.log = folder / "log"
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        reload = ["--reload", "--reload-dir", str(folder / "web"), *options]
        self.process = start(
            [sys.executable, "-m", "src.reload", "uvicorn", "web.app:app", *address, *reload],
            self.log, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        )  # fmt: skip
        wait_until(lambda: "Application startup complete" in self.output(), 30, "the API to start")
        wait_until(self.answers, 30, "the API to answer")

    def output(self) -> str:
        return self.log.read_text()

    def save(self, text: str | None = None) -> int:
        """Save the application with the next version number."""
        self.version += 1
        path = self.folder / "web" / "app.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text or APP.format(version=self.version))
        return self.version

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)

    def answers(self) -> int | None:
        """The version that answers on a new connection."""
        connection = self.connect()
        try:
            return ask(connection)
        except OSError:
            return None
        finally:
            connection.close()

    def wait_for(self, version: int) -> None:
        wait_until(lambda: self.answers() == version, 30, f"version {version}: {self.output()[-2000:]}")

    def wait_for_drained(self) -> None:
        """Wait until only one server is left."""

        def are_gone() -> bool:
            output = self.output()
            gone = output.count("Finished server process") + output.count("was killed")
            return output.count("Started server process") == gone + 1

        wait_until(are_gone, 20, f"the old servers to exit: {self.output()[-2000:]}")

    def processes(self) -> list[psutil.Process]:
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def close(self) -> None:
        """End whatever a test left over."""
        if self.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                self.stop()
        self.process.kill()
        self.process.wait()


def ask(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 200
    return int(response.read())


@contextmanager
def running(folder: Path, *options: str) -> Iterator[Api]:
    """An API that runs while the block does."""
    api = Api(folder, *options)
    try:
        yield api
    finally:
        api.close()
