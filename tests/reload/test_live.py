"""`python -m src.reload.live` for a program that shares nothing with this repository but src/reload."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.reload.program import Program
from tools.ports import free_port

pytestmark = pytest.mark.slow

MAIN = """
import http.server, json, threading, time
from pathlib import Path
from pkg.version import VERSION
from src.reload import fingerprint, loaded_fingerprint
from src.reload.report import current_problem, is_alone

PORT = int(Path("port").read_text())
HERE = Path(__file__).parent

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        version = {"code": CODE}
        if (code := fingerprint(HERE)) != CODE or not is_alone():
            version["on_disk"] = {"code": code, "problem": current_problem(code)}
        answer = version if self.path == "/version" else VERSION
        self.wfile.write(json.dumps(answer).encode())

class Server(http.server.HTTPServer):
    allow_reuse_port = True

    def server_bind(self):
        import socket
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

def run(generation):
    stop = threading.Event()
    generation.loaded()
    if not generation.ready(stop.set):
        return
    server = Server(("127.0.0.1", PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    generation.working()
    stop.wait()
    while Path("busy").exists():
        time.sleep(0.01)
    server.shutdown()
    server.server_close()
    generation.quiet()

CODE = loaded_fingerprint(HERE)
"""


def live(*arguments: str) -> tuple[int, str]:
    """Exit code and output of `python -m src.reload.live`."""
    command = [sys.executable, "-m", "src.reload.live", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


class Served(Program):
    """A program that serves its version on a port, without a worker."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        (folder / "port").write_text(str(self.port))
        self.save("main.py", MAIN)

    def live(self, *options: str) -> tuple[int, str]:
        return live(f"http://127.0.0.1:{self.port}/version", "--dir", str(self.folder / "pkg"), *options)


PROGRAM = Served


@pytest.fixture
def program(program: Served) -> Served:
    program.start()
    program.wait_for_log("New worker at work")
    return program


def test_a_save_is_live_and_broken_code_is_reported_until_it_is_fixed(program: Served) -> None:
    for version in range(2, 8):
        program.save("version.py", f"VERSION = {version}\n")
        code, said = program.live()
        assert code == 0, said
    program.save("version.py", "VERSION = (\n")
    code, said = program.live("--timeout", "20")
    assert (code, said.splitlines()[0]) == (1, "Broken: pkg/version.py:1: SyntaxError: '(' was never closed")
    program.save("version.py", "VERSION = 9\n")
    assert program.live()[0] == 0


def test_it_is_not_live_while_older_code_may_still_answer(program: Served) -> None:
    (program.folder / "busy").touch()
    program.save("version.py", "VERSION = 2\n")
    code, said = program.live("--timeout", "2")
    assert code == 3
    assert said.startswith("Not live: "), said
    (program.folder / "busy").unlink()
    assert program.live()[0] == 0


def test_nothing_that_runs_is_said_at_once_with_how_to_start_it() -> None:
    url = f"http://127.0.0.1:{free_port()}/version"
    code, said = live(url)
    assert code == 2
    assert said == f"Not running: nothing answers at {url}, start it (such as with `make dev`)\n"


def test_one_that_accepts_connections_but_never_answers_is_late() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code, said = live(f"http://127.0.0.1:{server.getsockname()[1]}/version", "--timeout", "0.5")
    assert code == 3
    assert "accepts connections but does not answer" in said


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/version"
        server.shutdown()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff", b"1", b"null", b"[]", b"{}", b'{"code": 1, "workers": 1}']
)
def test_another_program_is_not_mistaken_for_the_api(body: bytes) -> None:
    with answering(200, body) as url:
        code, said = live(url)
    assert (code, said) == (
        2,
        f"Not running: {url} does not say which code runs, it may be another program's\n",
    )


@pytest.mark.parametrize(("status", "expected"), [(401, 2), (404, 2), (503, 3)])
def test_an_error_is_named_and_only_one_that_may_pass_is_waited_for(status: int, expected: int) -> None:
    with answering(status, b"") as url:
        code, said = live(url, "--timeout", "0.3", "--json")
    assert code == expected
    assert json.loads(said)["why"] == f"{url} answers {status}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--tiemout", "3"], "unrecognized arguments"),
        (["--timeout", "soon"], "invalid float value: 'soon'"),
        (["--dir", "/nowhere"], "/nowhere is not a folder"),
        (["http://127.0.0.1:none/version"], "does not say which code runs"),
        (["version"], "version does not begin with http:// or https://"),
        (["ftp://127.0.0.1/version"], "does not begin with http:// or https://"),
    ],
)
def test_a_bad_option_is_refused_in_a_sentence(options: list[str], words: str) -> None:
    code, said = live(*options)
    assert code == 2
    assert words in said
    assert "Traceback" not in said
