"""`make dev` on Docker: one stack, on which the tests build in this order."""

import copy
import os
import shutil
import signal

import pytest

from src.reload.fingerprint import fingerprint
from tests.conftest import wait_until
from tests.kit.repository import replace
from tests.template.docker import engine
from tests.template.running import Running, edit

READY = "Ready.\n  Page"


@pytest.fixture(scope="module")
def development(clone: Running) -> Running:
    """A clone whose development stack runs in the foreground."""
    clone.start("dev", READY)
    return clone


def test_the_log_says_what_is_watched(development: Running) -> None:
    for line in (
        "Started reloader process [1] using WatchFiles",
        "Will watch for changes in these directories: ['/app/migrations', '/app/src']",
        "Starting Sales Dashboard API...",
    ):
        development.wait_for_line(line)


def test_make_logs_shows_the_log(development: Running) -> None:
    reader = copy.copy(development)
    reader.log = development.log.with_suffix(".logs")
    reader.start("logs", "Started reloader process [1] using WatchFiles")
    reader.interrupt()


def test_all_processes_run_the_code_of_the_folder(development: Running) -> None:
    version = development.wait_for_code(workers=1)
    assert version["environment"] == "development"


def test_a_save_reloads_api_and_worker(development: Running) -> None:
    before, containers = len(development.output()), engine.started_at(development, "rqworker")
    edit(development.folder / "src" / "progress_manager.py", "\n# changed\n")
    development.wait_for_code(workers=1)
    development.wait_for_line("Code change detected: progress_manager.py", after=before)
    development.wait_for_line("CODE CHANGED - Restarting worker to load new code", after=before)
    assert engine.started_at(development, "rqworker") == containers, "the container went on"


def test_a_syntax_error_ends_neither_worker_nor_api_and_mending_it_brings_the_new_code(
    development: Running,
) -> None:
    before, containers = len(development.output()), engine.started_at(development, "rqworker")
    path = development.folder / "src" / "progress_manager.py"
    good = edit(path, "\ndef broken(:\n")
    try:
        development.wait_for_line("Code change detected: progress_manager.py", after=before)
        development.wait_for_line("the last good code keeps working: src/progress_manager.py:", after=before)
        wait_until(lambda: "problem" in development.get("/version").get("on_disk", {}), 20, "the reason")
        assert "src/progress_manager.py:" in development.get("/version")["on_disk"]["problem"]
    finally:
        replace(path, good + "\n# mended\n")
    development.wait_for_code(workers=1)
    assert engine.started_at(development, "rqworker") == containers, "the container went on"


def test_a_changed_env_file_reaches_api_and_worker(development: Running) -> None:
    def is_refused() -> bool:
        response = development.request("GET", "/openapi.json")
        return response is not None and response.status_code == 400

    assert not is_refused()
    before, containers = len(development.output()), engine.started_at(development, "fastapi")
    env_file = development.folder / ".env"
    good = edit(env_file, "ALLOWED_HOSTS=example.com\nRQ_QUEUES=high,low\nLOG_LEVEL=info\nHOST_UID=1\n")
    wait_until(is_refused, 180, "another host name")
    development.wait_for_line("Listening on high, low...", after=before)
    development.wait_for_line(
        "HOST_UID in .env is read at the start only: run `make dev` again", after=before
    )
    replace(env_file, good)
    wait_until(lambda: not is_refused(), 180, "the usual host names")
    development.wait_for_line("Listening on high, default, low...", after=before)
    assert engine.started_at(development, "fastapi") == containers, "the container went on"


def test_a_new_migration_is_applied_and_one_that_fails_changes_nothing(development: Running) -> None:
    versions = development.folder / "migrations" / "versions"
    known = set(versions.glob("*.py"))
    before = len(development.output())
    development.make("migration", NAME="try it out")
    (written,) = set(versions.glob("*.py")) - known
    assert "try it out" in written.read_text("utf-8")
    development.wait_for_line(", try it out", after=before)
    development.wait_for_line("New server at work", after=before)
    wait_until(lambda: development.get("/health/ready"), 30, "ready")
    text = written.read_text("utf-8")
    revision = text.split('revision = "')[1].split('"')[0]
    following = text.replace(revision, "following").replace(
        text.split('down_revision = "')[1].split('"')[0], revision
    )
    create = 'op.create_table("following", sa.Column("id", sa.Integer()))'
    replace(versions / "following.py", following.replace("pass", f"{create}\n    op.execute('nonsense')", 1))
    place = "the last good code keeps working: migrations/versions/following.py:"
    development.wait_for_line(place, after=before)
    assert development.get("/health/ready")
    fixed = len(development.output())
    replace(versions / "following.py", following.replace("pass", create, 1))
    development.wait_for_line("New server at work", after=fixed)
    assert engine.sql(development, "SELECT count(*) FROM following") == "0"
    assert development.output()[before:].count("Code can't be loaded") == 1


def test_prompts_open_in_the_stack_and_db_reset_empties_its_database(development: Running) -> None:
    assert "42" in development.make("shell", ARGS="-c 'print(session.scalar(select(6 * 7)))'")
    assert "rq:workers" in development.make("redis-cli", ARGS="keys rq:workers")
    development.make("psql", ARGS="-c 'create table left_over (id int)'")
    assert "All data of the development database is gone" in development.make("db-reset")
    assert 'relation "left_over" does not exist' in development.make_refused(
        "psql", ARGS="-c 'table left_over'"
    )
    assert development.get("/health/ready")


def test_what_the_containers_write_belongs_to_the_user_of_the_host(development: Running) -> None:
    assert list((development.folder / "logs").glob("*.log")), "the logs are there"
    by_make = {".git", ".venv"}  # `make migration` formats what it has written
    written = [path for path in development.folder.rglob("*") if not by_make & set(path.parts)]
    assert {path.stat().st_uid for path in written} == {os.getuid()}
    assert not [path for path in written if path.name == "__pycache__" and "tools" not in path.parts]
    logs = development.folder / "logs"
    mode = logs.stat().st_mode
    logs.chmod(0o777)
    touch = ("run", "--rm", "-T", "--no-deps", "migrate", "touch", "logs/somebody")
    development.compose(*touch, form="dev", HOST_UID="4321", HOST_GID="4321")
    owner = (logs / "somebody").stat()
    logs.chmod(mode)
    assert (owner.st_uid, owner.st_gid) == (4321, 4321)


def test_make_live_waits_for_what_was_saved_and_names_what_only_the_worker_cannot_load(
    development: Running,
) -> None:
    source = development.folder / "src"
    for number in range(3):
        edit(source / "progress_manager.py", f"# {number}\n")
        said = development.make("live")
        version = development.get("/version")
        assert {version["code"], *(w["code"] for w in version["workers"] if not w["leaving"])} == {
            fingerprint(source)
        }, said
    (source / "broken").mkdir()
    (source / "broken" / "jobs.py").write_text("1 / 0\n")
    said = development.make_refused("live")
    assert "Broken: worker: src/broken/jobs.py:1: ZeroDivisionError: division by zero" in said
    shutil.rmtree(source / "broken")
    development.make("live")


def test_a_changed_lock_is_built_and_the_containers_are_replaced(development: Running) -> None:
    lines = (development.folder / "requirements-dev.txt").read_text().partition("\niniconfig==")[2]
    probe = ("python", "-c", "import importlib.util; print(importlib.util.find_spec('iniconfig'))")
    services = ("fastapi", "rqworker")

    def running() -> dict[str, set[str]]:
        listed = ("ps", "--quiet", "--no-trunc")
        return {name: {*development.compose(*listed, name, form="dev").split()} for name in services}

    before = running()
    assert [development.inside(service, *probe).strip() for service in services] == ["None"] * 2
    edit(development.folder / "requirements.txt", f"iniconfig=={lines.partition('    # via')[0]}")

    def are_replaced() -> bool:
        now = running()
        return all(now[service] and not now[service] & before[service] for service in services)

    wait_until(are_replaced, 300, "other containers")
    development.wait_for_code(workers=1)
    assert all("ModuleSpec" in development.inside(service, *probe) for service in services)


def test_ctrl_c_stops_everything(development: Running) -> None:
    # make itself ends by the signal once its command has ended.
    assert development.interrupt() in (0, 2, 130, -signal.SIGINT)
    for service in ("fastapi", "rqworker", "migrate", "redis", "postgres"):
        assert development.containers(service) == []


def test_db_reset_needs_no_running_stack_and_leaves_none(development: Running) -> None:
    assert "Running upgrade" in development.make("db-reset")
    assert development.containers("postgres") == []


def test_gunicorn_can_run_the_code_of_development(development: Running) -> None:
    before = len(development.output())
    development.start("dev", READY, SERVER="gunicorn")
    assert "Starting gunicorn" in development.output()[before:]
    edit(development.folder / "src" / "kit" / "log.py", "\n# changed\n")
    development.wait_for_code(workers=1)
    development.wait_for_line("Worker reloading: /app/src/kit/log.py modified", after=before)
