"""`python -m src.reload uvicorn …`: uvicorn's reload, with a hand-over that no request notices."""

import http.client
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import websockets
import websockets.sync.client

from src.reload.uvicorn_server import GRACE
from tests.conftest import wait_until
from tests.reload.served_app import APP, Api, ask, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One for all tests that leave it as it was, with uvicorn's defaults: httptools and uvloop."""
    with running(tmp_path_factory.mktemp("api")) as api:
        yield api
        assert api.stop() == 0


@pytest.fixture(scope="module")
def plain_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Another one, as it is where uvicorn is installed without its extras, with its own grace period."""
    options = ("--http", "h11", "--loop", "asyncio", "--timeout-graceful-shutdown", "1")
    with running(tmp_path_factory.mktemp("plain"), *options) as api:
        yield api
        assert api.stop() == 0, "one that was reloaded can still be stopped"


@pytest.fixture
def api(shared_api: Api) -> Api:
    """The shared one, with good code at work in one server."""
    shared_api.wait_for(shared_api.save())
    shared_api.wait_for_drained()
    return shared_api


@pytest.fixture(params=["httptools and uvloop", "h11 and asyncio"])
def either_api(request: pytest.FixtureRequest) -> Api:
    """Each of the two, with good code at work."""
    api: Api = request.getfixturevalue("plain_api" if "h11" in request.param else "shared_api")
    api.wait_for(api.save())
    return api


def test_the_log_is_that_of_uvicorn(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        api.wait_for(api.save())
        watched = re.escape(str([str(api.folder / "web")]))
        output, reloader = api.output(), rf"reloader process \[{api.process.pid}\]"
        assert re.search(f"INFO: +Will watch for changes in these directories: {watched}\n", output)
        assert re.search(rf"INFO: +Uvicorn running on http://127.0.0.1:{api.port} ", output)
        assert re.search(rf"INFO: +Started {reloader} using WatchFiles", output)
        assert "WatchFiles detected changes in 'web/app.py'. Reloading..." in output
        assert api.stop() == 0
        assert re.search(f"Stopping {reloader}", api.output())
        assert "Traceback" not in api.output()


def test_no_request_fails_while_the_code_changes(api: Api) -> None:
    failures: list[str] = []
    stop = threading.Event()

    def client(*, keeps_alive: bool) -> None:
        connection = api.connect()
        while not stop.wait(0.005):  # the machine needs time to reload, too
            try:
                seen = ask(connection)
                assert 0 < seen <= api.version
            except (OSError, AssertionError, http.client.HTTPException) as error:
                failures.append(repr(error))
            if not keeps_alive:
                connection.close()
        connection.close()

    clients = [threading.Thread(target=client, kwargs={"keeps_alive": k}) for k in (True, True, False)]
    for each in clients:
        each.start()
    try:
        for save in range(8):
            if save % 4 == 3:
                api.save("def broken(:")
            api.wait_for(api.save())
    finally:
        stop.set()
        for each in clients:
            each.join()
    assert failures == []


def test_a_connection_that_waits_is_served_by_the_new_code(either_api: Api) -> None:
    unused, used = socket.create_connection(("127.0.0.1", either_api.port)), either_api.connect()
    assert ask(used) == either_api.version
    kept = used.sock
    new = either_api.save()
    either_api.wait_for(new)
    assert ask(used) == new
    assert used.sock is kept, "the same connection"
    unused.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = b"".join(iter(lambda: unused.recv(1000), b""))
    assert answer.endswith(f"\r\n\r\n{new}".encode())
    assert either_api.answers() == new, "connections that come later are served, too"


def test_half_a_request_is_finished_and_its_connection_lives_on(either_api: Api) -> None:
    old = either_api.version
    client = socket.create_connection(("127.0.0.1", either_api.port), timeout=15)
    client.sendall(b"GET / HTTP/1.1\r\nHo")
    slow = either_api.connect()
    slow.request("POST", "/slow?seconds=0.5")
    new = either_api.save()
    either_api.wait_for(new)
    client.sendall(b"st: a\r\n\r\n")
    assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert int(slow.getresponse().read()) == old
    assert ask(slow) == new, "the connection has moved"


def test_an_open_stream_delays_nothing_and_is_closed_after_the_grace_period(plain_api: Api) -> None:
    api = plain_api
    streaming = api.connect()
    streaming.request("GET", "/stream")
    stream = streaming.getresponse()
    assert stream.read(4) == b"tick"
    api.wait_for(api.save())
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        stream.read()
    api.wait_for_drained()


def test_an_open_websocket_delays_nothing_and_is_closed_after_the_grace_period(either_api: Api) -> None:
    api = either_api
    with websockets.sync.client.connect(f"ws://127.0.0.1:{api.port}/socket") as client:
        assert client.recv() == "tick"
        api.wait_for(api.save())
        with pytest.raises(websockets.ConnectionClosed) as closed:
            list(client)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1012, "service restart"
    api.wait_for_drained()


def test_idle_connections_of_a_protocol_that_is_not_known_are_closed(tmp_path: Path) -> None:
    with running(tmp_path, "--http", "tests.reload.dispatcher:Dispatcher") as api:
        unused, used = socket.create_connection(("127.0.0.1", api.port), timeout=15), api.connect()
        assert ask(used) == api.version
        api.wait_for(api.save())
        assert [idle.recv(1) for idle in (unused, used.sock)] == [b"", b""]
        api.wait_for_drained()


def test_a_request_may_take_any_time_if_there_is_no_grace_period(api: Api) -> None:
    slow, old = api.connect(), api.version
    slow.request("POST", f"/slow?seconds={GRACE + 1}")
    api.wait_for(api.save())
    assert int(slow.getresponse().read()) == old


def test_broken_code_changes_nothing_and_the_next_good_save_takes_over(api: Api) -> None:
    good = api.version
    api.save("def broken(:\n# in this test\n")
    place = "the last good code keeps working: web/app.py:1"
    wait_until(lambda: f"{place}: SyntaxError" in api.output(), 20, "the error")
    assert api.answers() == good
    api.save("import nothing_of_this_name\n")
    wait_until(lambda: f"{place}: ModuleNotFoundError" in api.output(), 20, "the error")
    assert api.answers() == good
    api.save("renamed = 1\n")
    wait_until(lambda: 'ImportFromStringError: Attribute "app" not found' in api.output(), 20, "the error")
    assert api.answers() == good
    api.wait_for(api.save())


def test_an_error_before_serving_keeps_the_last_good_code(api: Api) -> None:
    good = api.version
    prepare = "\ndef prepare():\n    {}\n\napp.before_serving = prepare\n"
    api.save(APP.format(version=good + 1) + prepare.format("raise ValueError('not ready')"))
    wait_until(lambda: ": ValueError: not ready" in api.output(), 20, "the error")
    assert "the last good code keeps working: web/app.py:" in api.output()
    assert api.answers() == good
    api.save(APP.format(version=good + 2) + prepare.format("print('prepared')"))
    api.wait_for(good + 2)
    assert api.output().count("prepared") == 1, "a rehearsal prepares nothing"


def test_only_what_uvicorn_would_watch_counts_and_data(tmp_path: Path) -> None:
    for folder in ("web/.hidden", "web/.other"):
        (tmp_path / folder).mkdir(parents=True)
    included = [f"--reload-include={pattern}" for pattern in ("*.conf", ".env", ".hidden/*.txt")]
    with running(tmp_path, *included, "--reload-exclude=skipped_*.py", "--reload-exclude=*.md") as api:
        for name in ("skipped_one.py", "notes.log", "notes.md", "README.txt", ".other/a.txt"):
            (tmp_path / "web" / name).write_text("")
        for count, name in enumerate(("settings.conf", "page.html", ".env", ".hidden/a.txt"), start=1):
            (tmp_path / "web" / name).write_text("")
            wait_until(
                partial(lambda count: api.output().count("CODE CHANGED") == count, count), 20, "a hand-over"
            )
            assert f"detected changes in 'web/{name}'. Reloading" in api.output()
        for text in ("skipped_one", ".other", "No file events"):
            assert text not in api.output()


def test_a_stop_waits_for_no_connection_that_is_idle_however_many_there_are(tmp_path: Path) -> None:
    with running(tmp_path, "--timeout-graceful-shutdown", "60") as api:
        idle = [socket.create_connection(("127.0.0.1", api.port), timeout=15) for _ in range(400)]
        idle[0].sendall(b"GET / HT")  # half a request is none, as for uvicorn
        assert api.answers() == api.version, "all are accepted"
        assert api.stop() == 0
        assert {client.recv(1) for client in idle} == {b""}


@pytest.mark.slow  # it waits for processes to notice
def test_a_kill_of_the_reloader_leaves_no_process_behind(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        api.wait_for(api.save())
        processes = api.processes()
        assert processes
        api.process.kill()
        api.process.wait()
        _, alive = psutil.wait_procs(processes, timeout=20)
        assert alive == []


def test_a_killed_server_is_replaced(api: Api) -> None:
    servers = re.findall(r"Started server process \[(\d+)\]", api.output())
    os.kill(int(servers[-1]), signal.SIGKILL)
    wait_until(lambda: "was killed (SIGKILL)" in api.output(), 20, "the log of it")
    wait_until(
        lambda: api.output().count("Started server process") > len(servers), 20, f"another server: {servers}"
    )
    wait_until(lambda: api.answers() == api.version, 20, "an answer")


def test_hand_overs_leave_no_process_and_no_descriptor_behind(api: Api) -> None:
    reloader = psutil.Process(api.process.pid)
    for _ in range(2):
        api.wait_for(api.save())
    api.wait_for_drained()
    descriptors, processes = reloader.num_fds(), len(api.processes())
    for _ in range(5):
        api.wait_for(api.save())
    api.wait_for_drained()
    wait_until(lambda: len(api.processes()) <= processes, 10, "their end")
    wait_until(lambda: reloader.num_fds() <= descriptors, 10, "no more descriptors than before")
