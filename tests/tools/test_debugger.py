"""`breakpoint()` in a real terminal; `test_debug_editors.py` is about editors."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, wait_until
from tests.kit import paused_feature
from tests.kit.production_process import production_environment
from tests.tools.debugged_stack import LIMIT, Development

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    development = Development(tmp_path_factory.mktemp("dev"))
    yield development
    development.terminal.close()


def test_the_prompt_of_a_route_can_be_used_and_other_requests_are_answered(development: Development) -> None:
    terminal = development.terminal
    assert terminal.is_colored
    assert "Logging error" not in terminal.screen
    before = len(terminal.screen)
    answer = development.ask("/probe/route")
    terminal.wait_for("(Pdb) ", before)
    assert development.fetch("/health/live")
    before = terminal.type("p value * 2\n")
    terminal.wait_for("p value * 2\n82\n(Pdb) ", before)
    before = terminal.type(
        "p forgotten\x03p value\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D_\x7f\n"
    )  # Ctrl-C, and arrow keys
    terminal.wait_for("\n41\n(Pdb) ", before)
    before = terminal.type("\x1b[A\n")  # the line before
    terminal.wait_for("\n41\n(Pdb) ", before)
    assert not answer.done()
    terminal.type("c\n")
    assert answer.result(20) == 42
    wait_until(terminal.is_as_before, what="the terminal's own settings")


def test_ctrl_d_and_c_go_on_from_pdb_in_a_coroutine_and_q_ends_it(development: Development) -> None:
    for keys, code in (("\x04", 200), ("c\n", 200), ("q\n", 500)):
        before = len(development.terminal.screen)
        answer = development.ask("/probe/coroutine")
        development.terminal.wait_for("(Pdb) ", before)
        development.terminal.type(keys)
        if code == 200:
            assert answer.result(20) == 51
        else:
            with pytest.raises(AssertionError, match="BdbQuit"):
                answer.result(20)


def test_two_take_turns_and_no_limit_counts_and_a_save_in_the_pause_is_served_by_new_code(
    development: Development,
) -> None:
    terminal, before = development.terminal, len(development.terminal.screen)
    old = development.codes()[0]
    started = time.monotonic()
    job = development.job(10)
    terminal.wait_for("(Pdb) ", before)
    answer = development.ask("/probe/route")
    development.save(2)
    wait_until(lambda: old not in development.codes(), 60, "the new code")
    # Longer than the job may take, and than a hand-over waits for a request.
    wait_until(lambda: time.monotonic() - started > 2 * LIMIT + 2)
    assert terminal.screen[before:].count("(Pdb) ") == 1
    terminal.wait_for("(Pdb) ", before)
    before = terminal.type("p result\n")
    terminal.wait_for("\n11\n(Pdb) ", before)
    before = terminal.type("c\n")
    terminal.wait_for("(Pdb) ", before)
    assert not answer.done()
    terminal.type("c\n")
    assert answer.result(20) == 42, "the old code"
    wait_until(lambda: development.result(job) == 11, what="the job's result")
    terminal.wait_for("Finished server process", before)
    before = len(terminal.screen)
    answer = development.ask("/probe/route")
    terminal.wait_for("(Pdb) ", before)
    terminal.type("c\n")
    assert answer.result(20) == 43


def test_a_breakpoint_in_code_that_is_imported_is_skipped(development: Development) -> None:
    before = len(development.terminal.screen)
    path = development.folder / "src" / "probe" / "__init__.py"
    path.write_text("breakpoint()\n")
    development.terminal.wait_for("is skipped: the code is still being imported", before)
    path.write_text("")


def test_ctrl_c_stops_all_also_when_one_is_paused(development: Development) -> None:
    terminal, before = development.terminal, len(development.terminal.screen)
    answer = development.ask("/probe/route")
    terminal.wait_for("(Pdb) ", before)
    runner = next(
        each for each in psutil.Process(terminal.process.pid).children() if "tools.native" in each.cmdline()
    )
    runner.send_signal(signal.SIGINT)
    terminal.wait_for("Stopping after SIGINT", before)
    terminal.type("c\n")
    assert answer.result(20) in (42, 43)
    terminal.process.wait(30)
    assert terminal.is_as_before()


def test_without_a_terminal_a_breakpoint_is_skipped_in_routes_and_jobs(tmp_path: Path) -> None:
    development = Development(tmp_path, has_terminal=False)
    try:
        assert development.fetch("/probe/route") == 42
        job = development.job(10)
        wait_until(lambda: development.result(job) == 11, what="the job's result")
        output = development.terminal.screen
        for name in ("routes", "jobs"):
            place = paused_feature.line(development.folder, name, "breakpoint()")
            assert f"breakpoint() at {place[0]}:{place[1]} is skipped: no terminal is attached" in output
        assert "Traceback" not in output
    finally:
        development.terminal.close()


def test_production_has_neither_a_hook_nor_debugpy(redis_url: str) -> None:
    program = """
import sys
import src.main
from src.kit.queue import startup
startup.load_code()
startup.make_worker()
print(sorted({"pdb", "debugpy", "src.reload.debugger"} & sys.modules.keys()), sys.breakpointhook.__name__)
"""
    places = dict.fromkeys(("DEBUGGER", "DEBUGPY_SERVER", "DEBUGPY_WORKER"), "127.0.0.1:5678")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False,
        env=production_environment(redis_url, "sqlite://") | places,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] breakpointhook\n"
