"""`python -m src.reload uvicorn …`: uvicorn's reload, with a hand-over that no request notices."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import websockets
import websockets.sync.client

from tests.conftest import ROOT, wait_until
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

    def __init__(self, folder: Path, *options: str, http: str = "auto") -> None:
        self.folder = folder
        self.version = 0
        self.save()
        self.port = free_port()
        self.log = folder / "log"
        address = ["--host", "127.0.0.1", "--port", str(self.port), "--http", http]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "src.reload", "uvicorn", "web.app:app", *address, "--reload",
             "--reload-dir", str(folder / "web"), "--timeout-graceful-shutdown", "1", *options],
            cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=self.log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True,
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
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def answers(self) -> int | None:
        """The version that answers on a new connection."""
        try:
            return ask(self.connect())
        except OSError:
            return None

    def wait_for(self, version: int) -> None:
        wait_until(lambda: self.answers() == version, 30, f"version {version}: {self.output()[-2000:]}")

    def processes(self) -> list[psutil.Process]:
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return children

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def ask(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/")
    response = connection.getresponse()
    assert response.status == 200
    return int(response.read())


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    api = Api(tmp_path)
    yield api
    if api.process.poll() is None:
        assert api.stop() == 0


def test_the_log_is_that_of_uvicorn(api: Api) -> None:
    api.wait_for(api.save())
    watched = re.escape(str([str(api.folder / "web")]))
    assert re.search(f"INFO: +Will watch for changes in these directories: {watched}\n", api.output())
    assert re.search(rf"INFO: +Uvicorn running on http://127.0.0.1:{api.port} ", api.output())
    assert re.search(rf"INFO: +Started reloader process \[{api.process.pid}\] using WatchFiles", api.output())
    assert "WatchFiles detected changes in 'web/app.py'. Reloading..." in api.output()
    assert api.stop() == 0
    assert f"Stopping reloader process [{api.process.pid}]" in api.output()
    assert "Traceback" not in api.output()


def test_no_request_fails_while_the_code_changes(api: Api) -> None:
    failures: list[str] = []
    stop = threading.Event()

    def client(*, keeps_alive: bool) -> None:
        connection = api.connect()
        while not stop.is_set():
            try:
                seen = ask(connection)
                assert 0 < seen <= api.version
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failures.append(repr(error))
            if not keeps_alive:
                connection.close()

    clients = [threading.Thread(target=client, kwargs={"keeps_alive": k}) for k in (True, True, False)]
    for each in clients:
        each.start()
    try:
        for save in range(12):
            if save % 4 == 3:
                api.save("def broken(:")
            api.wait_for(api.save())
    finally:
        stop.set()
        for each in clients:
            each.join()
    assert failures == []


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_a_connection_that_waits_is_served_by_the_new_code(tmp_path: Path, http: str) -> None:
    api = Api(tmp_path, http=http)
    unused, used = socket.create_connection(("127.0.0.1", api.port)), api.connect()
    assert ask(used) == 1
    kept = used.sock
    api.wait_for(api.save())
    assert ask(used) == 2
    assert used.sock is kept, "the same connection"
    unused.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = b"".join(iter(lambda: unused.recv(1000), b""))
    assert answer.endswith(b"\r\n\r\n2")
    assert api.stop() == 0


@pytest.mark.parametrize("http", ["httptools", "h11"])
def test_half_a_request_is_finished_and_its_connection_lives_on(tmp_path: Path, http: str) -> None:
    api = Api(tmp_path, http=http)
    client = socket.create_connection(("127.0.0.1", api.port))
    client.sendall(b"GET / HTTP/1.1\r\nHo")
    slow = api.connect()
    slow.request("POST", "/slow?seconds=0.5")
    api.wait_for(api.save())
    client.sendall(b"st: a\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert slow.getresponse().read() == b"1"
    assert ask(slow) == 2, "the connection has moved on"
    assert api.stop() == 0


def test_an_open_stream_holds_nothing_up_and_is_closed_after_the_grace_period(api: Api) -> None:
    streaming = api.connect()
    streaming.request("GET", "/stream")
    stream = streaming.getresponse()
    assert stream.read(4) == b"tick"
    api.wait_for(api.save())
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        stream.read()
    wait_until(lambda: api.output().count("Finished server process") == 1, 10, "the old server to leave")


def test_an_open_websocket_holds_nothing_up_and_is_closed_after_the_grace_period(api: Api) -> None:
    with websockets.sync.client.connect(f"ws://127.0.0.1:{api.port}/socket") as client:
        assert client.recv() == "tick"
        api.wait_for(api.save())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            list(client)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1012, "service restart"
    wait_until(lambda: api.output().count("Finished server process") == 1, 10, "the old server to leave")


def test_broken_code_changes_nothing_and_the_next_good_save_takes_over(api: Api) -> None:
    api.save("def broken(:\n")
    wait_until(lambda: "the last good code works on: web/app.py:1: SyntaxError" in api.output(), 20, "it")
    assert api.answers() == 1
    api.save("import nothing_of_this_name\n")
    wait_until(lambda: "web/app.py:1: ModuleNotFoundError" in api.output(), 20, "it")
    assert api.answers() == 1
    api.wait_for(api.save())


def test_only_what_uvicorn_would_watch_counts(tmp_path: Path) -> None:
    api = Api(tmp_path, "--reload-include", "*.toml", "--reload-exclude", "skipped_*.py")
    (tmp_path / "web" / "skipped_one.py").write_text("")
    (tmp_path / "web" / "notes.txt").write_text("")
    (tmp_path / "web" / "settings.toml").write_text("")
    wait_until(lambda: "CODE CHANGED" in api.output(), 20, "a hand-over")
    assert "detected changes in 'web/settings.toml'. Reloading" in api.output()
    assert "skipped_one" not in api.output()
    assert api.stop() == 0


def test_a_kill_of_the_reloader_leaves_no_process_behind(api: Api) -> None:
    api.wait_for(api.save())
    processes = api.processes()
    assert processes
    api.process.kill()
    api.process.wait()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert alive == []


def test_a_killed_server_is_replaced(api: Api) -> None:
    (serving,) = re.findall(r"Started server process \[(\d+)\]", api.output())
    os.kill(int(serving), signal.SIGKILL)
    wait_until(lambda: len(re.findall("Started server process", api.output())) == 2, 20, "another server")
    wait_until(lambda: api.answers() == 1, 20, "an answer")


def test_hand_overs_leave_no_process_and_no_descriptor_behind(api: Api) -> None:
    reloader = psutil.Process(api.process.pid)
    for _ in range(3):
        api.wait_for(api.save())
    wait_until(lambda: api.output().count("Finished server process") == 3, 20, "the old servers to leave")
    descriptors, processes = reloader.num_fds(), len(api.processes())
    for _ in range(10):
        api.wait_for(api.save())
    wait_until(lambda: api.output().count("Finished server process") == 13, 20, "the old servers to leave")
    wait_until(lambda: len(api.processes()) <= processes, 10, "their end")
    wait_until(lambda: reloader.num_fds() <= descriptors, 10, "no more descriptors than before")


def test_it_says_how_it_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "src.reload", "gunicorn"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "python -m src.reload uvicorn" in done.stderr
