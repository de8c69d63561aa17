"""`make debug` and `make attach` on Docker: the prompt of breakpoint(), and an editor on this machine."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import wait_until
from tests.kit import paused_feature
from tests.kit.debug_adapter import Editor
from tests.kit.terminal import Terminal
from tests.template.running import ENVIRONMENT, Running
from tools.ports import free_port


@pytest.fixture(scope="module")
def debugged(clone: Running) -> Iterator[tuple[Running, Editor, Editor]]:
    """A clone under `make debug`, and editors that are attached to the API and to the worker."""
    server, worker = free_port(), free_port()
    paused_feature.save(clone.folder, is_stopping=False)
    clone.start(
        "debug", "Ready.\n  Page", DEBUGPY_SERVER=f"127.0.0.1:{server}", DEBUGPY_WORKER=f"127.0.0.1:{worker}"
    )
    editors = [
        Editor(port, *paused_feature.line(clone.folder, name, "return " + what), remote="/app")
        for port, name, what in ((server, "routes", "value"), (worker, "jobs", "result"))
    ]
    yield clone, editors[0], editors[1]
    for editor in editors:
        editor.close()


def test_editors_stop_in_a_route_and_in_a_job_also_after_a_save(
    debugged: tuple[Running, Editor, Editor],
) -> None:
    running, api, worker = debugged
    for version in (1, 2):
        if version == 2:
            paused_feature.save(running.folder, version, is_stopping=False)
            running.wait_for_code(workers=1)
        for editor in (api, worker):
            editor.wait_for_breakpoint(version if editor is api else 2 * version - 1)
        with ThreadPoolExecutor() as asking:
            stop, answer = api.stop_request(lambda: asking.submit(running.get, "/probe/route"))
            assert stop.value("value") == "41"
            stop.go_on()
            assert answer.result(30) == 41 + version
        started = running.request("POST", "/probe/jobs/10")
        assert started
        stop = worker.wait_for_stop()
        assert stop.value("result") == str(10 + version)
        stop.go_on()
        wait_until(lambda: running.get(f"/probe/jobs/{started.json()}") == 10 + version, 30, "the result")  # noqa: B023


def test_make_attach_shows_the_prompts_of_api_and_worker(debugged: tuple[Running, Editor, Editor]) -> None:
    running, *editors = debugged
    for editor in editors:
        editor.close()
    paused_feature.save(running.folder, 3)
    running.wait_for_code(workers=1)

    def is_skipped() -> bool:
        assert running.get("/probe/route") == 44
        return "is skipped: no terminal is attached" in running.output()

    wait_until(is_skipped, 60, "the end of the editors to be noticed")
    terminal = Terminal(["make", "attach"], running.folder, ENVIRONMENT | running.environment)
    terminal.wait_for("Waiting for a breakpoint()")
    started = running.request("POST", "/probe/jobs/10")
    assert started
    terminal.wait_for("(Pdb) ")
    with ThreadPoolExecutor() as asking:
        answer = asking.submit(running.get, "/probe/route")
        before = terminal.type("p result\n")
        terminal.wait_for("\n13\n(Pdb) ", before)
        before = terminal.type("c\n")
        terminal.wait_for("(Pdb) ", before)
        terminal.type("c\n")
        assert answer.result(30) == 44
    wait_until(lambda: running.get(f"/probe/jobs/{started.json()}") == 13, 30, "the result")
    terminal.type("\x03")
    assert terminal.process.wait(20) is not None
