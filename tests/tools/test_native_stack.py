"""`make dev` and `make prod` without Docker: the real commands, in a copy of this tree, with real signals."""

import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.kit.production_process import parse_lines
from tests.kit.repository import add_environment, copy_repository, share_environment
from tests.tools.native_stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of this tree, in a path with spaces."""
    tree = tmp_path / "a path with spaces"
    copy_repository(tree)
    return tree


@pytest.fixture
def start(tree: Path, tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Starts the stack in the copy."""
    stacks: list[Stack] = []

    def start(target: str, **variables: str) -> Stack:
        if not (tree / ".venv").exists():
            share_environment(tree)
        stacks.append(Stack(tree, tmp_path / f"{target}-{len(stacks)}.log", target, **variables))
        return stacks[-1]

    yield start
    for stack in stacks:
        if stack.make.poll() is None:
            os.killpg(stack.make.pid, signal.SIGTERM)
            stack.make.wait(60)


def test_development_reloads_has_its_port_alone_and_ctrl_c_leaves_nothing_behind(
    start: Callable[..., Stack], tmp_path: Path
) -> None:
    stack = start("dev")
    stack.wait_until_ready()
    started = stack.output()
    assert started.startswith("Runtime: native (RUNTIME=native asks for it).\n")
    assert len(started.partition("\nReady.\n")[0].splitlines()) <= 20, "one line an event"
    assert "\033[" not in started
    (old,) = stack.codes()

    (stack.tree / "src" / "added.py").write_text("ADDED = True\n")
    new = wait_until(lambda: (codes := stack.codes()) and old not in codes and len(codes) == 1 and codes, 60)
    assert new

    (stack.tree / "src" / "added.py").write_text("ADDED = False\n")
    assert "API: " in stack.ask_whether_live(0)
    (stack.tree / "src" / "extra").mkdir()
    (stack.tree / "src" / "extra" / "jobs.py").write_text("1 / 0\n")
    assert "Broken: worker: src/extra/jobs.py:1: ZeroDivisionError: " in stack.ask_whether_live(2)
    (stack.tree / "src" / "extra" / "jobs.py").unlink()
    assert json.loads(stack.ask_whether_live(0, "ARGS=--timeout 60 --json"))["state"] == "live"

    # Another clone, whose .env has the same port.
    second = tmp_path / "second"
    copy_repository(second)
    (second / ".env").write_text(f"API_PORT={stack.port}\n")
    program = f"from tools import clones; clones.api_port({{'API_PORT': '{stack.port}'}}, 'dev')"
    said = subprocess.run(["python3", "-c", program], cwd=second, capture_output=True, text=True, check=True)
    assert said.stdout.startswith(f"Another clone uses port {stack.port}: this one uses ")
    assert int((second / ".env").read_text().removeprefix("API_PORT=")) > stack.port

    stack.note_processes()
    os.killpg(stack.make.pid, signal.SIGINT)
    stack.wait_until_gone()
    assert "Stopping after SIGINT" in stack.output()
    assert "Not running: nothing answers" in stack.ask_whether_live(2)
    assert stack.output().count("\nReady.\n") == 1
    assert len(re.findall(rf"http://localhost:{stack.port}/docs$", stack.output(), re.MULTILINE)) == 1
    last_of_worker = [line for line in stack.output().splitlines() if line.startswith("worker ")][-1]
    worker_ends = datetime.strptime(last_of_worker[10:33], "%Y-%m-%d %H:%M:%S,%f")  # noqa: DTZ007  local, both
    log = (stack.tree / "logs" / "redis.log").read_text()
    [stops] = re.findall(r"\d+:M (\S+ \S+ \S+ \S+) # User requested shutdown", log)
    redis_stops = datetime.strptime(stops, "%d %b %Y %H:%M:%S.%f")  # noqa: DTZ007
    assert worker_ends < redis_stops, "the worker may need Redis until its end"


def test_production_does_not_reload_and_make_down_stops_it(start: Callable[..., Stack]) -> None:
    stack = start("prod")
    stack.wait_until_ready()
    assert "not a deployment" in stack.output()
    for role in ("migrate", "rqworker", "fastapi"):
        assert parse_lines((stack.tree / "logs" / f"{role}.log").read_text())
    assert stack.child("gunicorn").environ()["API_KEYS_FILE"].endswith("api_keys")
    assert "API_KEYS_FILE" not in stack.child("src.rq_worker").environ()
    before = stack.codes()
    (stack.tree / "src" / "added.py").write_text("ADDED = True\n")
    with pytest.raises(AssertionError, match="another code"):
        wait_until(lambda: stack.codes() != before, 3, "another code")

    second = start("dev")
    assert second.make.wait(60) == 2
    assert "The stack already runs here: stop it with `make down`." in second.output()

    stack.note_processes()
    subprocess.run(["make", "down", "RUNTIME=native"], cwd=stack.tree, check=True)
    stack.wait_until_gone()
    assert stack.make.returncode == 0


@pytest.mark.slow
def test_one_that_ends_ends_all(start: Callable[..., Stack]) -> None:
    stack = start("dev")
    stack.wait_until_ready()
    stack.child("src.rq_worker").kill()
    stack.wait_until_gone()
    assert "worker ended by SIGKILL: stopping the others." in stack.output()
    assert stack.make.returncode == 2


@pytest.mark.slow
def test_a_killed_runner_takes_its_processes_along(start: Callable[..., Stack]) -> None:
    stack = start("dev")
    stack.wait_until_ready()
    stack.runner().kill()
    stack.wait_until_gone()


def add_setting_to_title(tree: Path, code: str) -> None:
    """Have the title of the API's description say something else."""
    main = tree / "src" / "main.py"
    main.write_text(re.sub(r'title="[^"]+"', f"title={code}", main.read_text()))


def test_a_changed_env_file_reaches_api_and_worker(tree: Path, start: Callable[..., Stack]) -> None:
    (tree / ".env").write_text("MAX_UPLOAD_MB=7\n")
    add_setting_to_title(tree, 'f"{get_settings().max_upload_mb} {get_settings().job_retries}"')
    main = tree / "src" / "main.py"
    main.write_text(main.read_text().replace("\napp", "from src.settings import get_settings\n\napp", 1))
    stack = start("dev", JOB_RETRIES="4")
    stack.wait_until_ready()

    def title_is(text: str) -> None:
        wait_until(lambda: (stack.get("/openapi.json") or {"info": {}})["info"].get("title") == text, 30)

    title_is("7 4")
    (tree / ".env").write_text("MAX_UPLOAD_MB=8\nJOB_RETRIES=5\nAPI_PORT=1\nLOG_LEVEL=warning\n")
    title_is("8 4")
    for name in ("api", "worker"):
        for message in ("API_PORT in .env is read at the start only", "JOB_RETRIES in .env changes nothing"):
            assert re.search(rf"^{name} .*{message}", stack.output(), re.MULTILINE), (name, message)
    (tree / ".env").write_text("")
    title_is("50 4")
    wait_until(lambda: stack.output().count("Code change detected: .env") == 2, 30, "the worker's line")


def make_wheel(folder: Path, version: int) -> str:
    """Make a package `template_probe` that holds its version; returns a line of a lock that asks for it."""
    wheel = folder / f"template_probe-{version}-py3-none-any.whl"
    info = f"template_probe-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("template_probe.py", f"VERSION = {version}\n")
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: template-probe\nVersion: {version}\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"template-probe @ {wheel.as_uri()} --hash=sha256:{digest}\n"


@pytest.mark.slow
def test_a_changed_lock_is_installed_and_loaded_without_a_failed_request(
    tree: Path, tmp_path: Path, start: Callable[..., Stack]
) -> None:
    add_environment(tree)
    add_setting_to_title(tree, "probe()")
    main = tree / "src" / "main.py"
    probe = """

def probe() -> str:
    try:
        import template_probe
    except ImportError:
        return "none"
    return str(template_probe.VERSION)


app"""
    main.write_text(main.read_text().replace("\napp", probe, 1))
    stack = start("dev")
    stack.wait_until_ready()
    titles: list[str | None] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.02):
            description = stack.get("/openapi.json")
            titles.append(description and description["info"]["title"])

    client = threading.Thread(target=ask)
    client.start()
    try:
        lock = tree / "requirements-dev.txt"
        pinned = lock.read_text()
        for version in (1, 2):
            lock.write_text(pinned + make_wheel(tmp_path, version))
            wait_until(partial(lambda title: title in titles, str(version)), 120, stack.output()[-2000:])
        broken = "template-probe @ file:///nowhere.whl --hash=sha256:" + "0" * 64 + "\n"
        lock.write_text(pinned + broken)
        wait_until(lambda: "Installing the packages failed" in stack.output(), 60, "the reason")
        lock.write_text(pinned + make_wheel(tmp_path, 3))
        wait_until(lambda: "3" in titles, 120, stack.output()[-2000:])
    finally:
        done.set()
        client.join()
    assert [title for number, title in enumerate(titles) if titles[number - 1] != title or not number] == [
        "none",
        "1",
        "2",
        "3",
    ]
    assert "nowhere.whl" in stack.output()
    assert stack.output().count("Installing the packages failed") == 1
