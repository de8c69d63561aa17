"""`make debug` with an editor: a real client of the debug adapter protocol."""

import time
from collections.abc import Iterator

import psutil
import pytest

from tests.conftest import wait_until
from tests.kit import paused_feature
from tests.kit.debug_adapter import Editor
from tests.tools.debugged_stack import LIMIT, Development
from tools.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def debugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    folder = tmp_path_factory.mktemp("debug")
    development = Development(folder, free_port(), free_port(), is_stopping=False)
    yield development
    development.terminal.close()


def test_an_editor_stops_in_a_route_also_in_the_code_of_a_save_in_the_pause(debugged: Development) -> None:
    editor = Editor(debugged.debug_ports[0], *paused_feature.line(debugged.folder, "routes", "return value"))
    for version in (1, 2):
        editor.wait_for_breakpoint(version)
        stop, answer = editor.stop_request(lambda: debugged.ask("/probe/route"))
        assert stop.value("value") == "41"
        started = time.monotonic()
        before = len(debugged.terminal.screen)
        debugged.save(version + 1)
        debugged.terminal.wait_for("Application startup complete", before)
        wait_until(lambda: time.monotonic() > started + 4, what="longer than a hand-over waits")  # noqa: B023
        assert not answer.done()
        stop.go_on()
        assert answer.result(20) == 41 + version
    editor.close()
    assert debugged.fetch("/probe/route") in (43, 44)


def test_an_editor_stops_in_jobs_which_then_have_no_time_limit_also_after_a_save(
    debugged: Development,
) -> None:
    editor = Editor(debugged.debug_ports[1], *paused_feature.line(debugged.folder, "jobs", "return result"))
    editor.wait_for_breakpoint()
    for version, breakpoints in ((11, 2), (12, 4)):  # also one for the first job
        old = debugged.codes()
        debugged.save(version)
        wait_until(lambda: debugged.codes()[1] not in old, 30, "the new code")  # noqa: B023
        editor.wait_for_breakpoint(breakpoints)
        job = debugged.job(10)
        stop = editor.wait_for_stop()
        assert stop.value("result") == str(10 + version)
        started = time.monotonic()
        wait_until(lambda: time.monotonic() > started + 2 * LIMIT)  # noqa: B023
        stop.go_on()
        wait_until(lambda: debugged.result(job) == 10 + version, what="the job's result")  # noqa: B023
    editor.close()
    job = debugged.job(20)
    wait_until(lambda: debugged.result(job) == 32, 10, "a job without an editor")


def test_an_editor_that_does_not_follow_a_job_does_not_stop_it_for_good(debugged: Development) -> None:
    place = paused_feature.line(debugged.folder, "jobs", "return result")
    editor = Editor(debugged.debug_ports[1], *place, is_following=False)
    editor.wait_for_breakpoint()
    job = debugged.job(30)
    wait_until(lambda: debugged.result(job), 20, "the job's result")
    editor.close()


def test_debuggers_listen_on_this_machine_only(debugged: Development) -> None:
    processes = {each.pid for each in psutil.Process(debugged.terminal.process.pid).children(recursive=True)}
    connections = [each for each in psutil.net_connections("inet") if each.pid in processes]
    listening = [each.laddr for each in connections if each.status == psutil.CONN_LISTEN]
    assert set(debugged.debug_ports) <= {address.port for address in listening}
    assert {address.ip for address in listening} == {"127.0.0.1"}
