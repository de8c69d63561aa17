"""A worker of Gunicorn that stops: each client learns that its connection ends, and a WebSocket may begin."""

import http.client
import os
import sys
from pathlib import Path

from tests.conftest import ROOT, wait_until
from tests.kit.production_process import Api, started

APP = """
import asyncio
from fastapi import FastAPI, WebSocket

app, released = FastAPI(), asyncio.Event()

@app.get("/wait")
async def wait():
    await released.wait()

@app.get("/release")
async def release():
    released.set()

@app.websocket("/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    await websocket.receive()
"""

COMMAND = [
    str(Path(sys.executable).with_name("gunicorn")), "-k", "src.kit.web.gunicorn_worker.LingeringWorker",
    "--bind", "127.0.0.1:PORT", "app:app",
]  # fmt: skip

UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


def said_of_connection(client: http.client.HTTPConnection) -> list[str]:
    response = client.getresponse()
    if response.status != 101:
        response.read()
    return response.headers.get_all("Connection", [])


def test_every_response_of_a_stop_ends_its_connection_but_a_websocket_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with started(Api(tmp_path, COMMAND, os.environ | {"PYTHONPATH": str(ROOT)}, tmp_path)) as api:
        clients = [http.client.HTTPConnection("127.0.0.1", api.port, timeout=20) for _ in range(4)]
        for client in clients:
            client.connect()
        waiting, idle, releasing, upgrading = clients
        waiting.request("GET", "/wait")
        api.process.terminate()

        def is_stopping() -> bool:
            idle.request("GET", "/docs")
            return said_of_connection(idle) == ["close"]

        wait_until(is_stopping, 20, "the stop")
        upgrading.request("GET", "/socket", headers=UPGRADE)
        releasing.request("GET", "/release")
        assert said_of_connection(upgrading) == ["Upgrade"]
        assert said_of_connection(releasing) == ["close"]
        assert said_of_connection(waiting) == ["close"]
