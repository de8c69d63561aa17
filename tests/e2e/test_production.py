"""`make prod` on Docker: one stack, on which the tests build in this order."""

import itertools
import shutil
import stat
import subprocess
import time
from decimal import Decimal

import pytest

from src.settings import Settings
from tests.conftest import wait_until
from tests.e2e import sales
from tests.e2e.running import Running

OURS = ("fastapi", "rqworker")
CSV, FIGURES = sales.generated(3_000)


@pytest.fixture(scope="module")
def production(clone: Running) -> Running:
    """The production stack, running in the background."""
    clone.make("prod", seconds=300)
    return clone


def container_ids(running: Running) -> dict[str, list[str]]:
    services = ("fastapi", "rqworker", "redis", "postgres")
    return {service: [container["Id"] for container in running.containers(service)] for service in services}


def figures(running: Running) -> dict[str, tuple[Decimal, int, int]]:
    summary = running.get("/api/v1/sales/summary?group_by=country")
    assert Decimal(summary["total"]) == sum(Decimal(group["revenue"]) for group in summary["groups"])
    return {
        group["key"]: (Decimal(group["revenue"]), group["orders"], group["units"])
        for group in summary["groups"]
    }


def expected() -> dict[str, tuple[Decimal, int, int]]:
    return {key: (each.revenue, len(each.invoices), each.units) for key, each in FIGURES.items()}


def test_it_made_secrets_that_only_the_user_can_read(production: Running) -> None:
    path = production.folder / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "=change-me" not in path.read_text("utf-8")


def test_three_workers_and_the_api_run_the_same_code(production: Running) -> None:
    version = production.wait_for_code(production.code(), workers=3)
    assert version["environment"] == "production"


def test_nothing_is_mounted_and_nothing_can_be_written(production: Running) -> None:
    for service, count in (("fastapi", 1), ("rqworker", 3)):
        containers = production.containers(service)
        assert len(containers) == count
        for container in containers:
            assert container["Mounts"] == []
            assert container["HostConfig"]["ReadonlyRootfs"]
            assert container["HostConfig"]["CapDrop"] == ["ALL"]
            assert container["Config"]["User"] == "10001:10001"


def test_the_image_holds_no_compiler_and_the_bytecode_of_everything(production: Running) -> None:
    def shell(command: str) -> str:
        return production.compose("exec", "-T", "fastapi", "sh", "-c", command, form="prod")

    assert shell("command -v gcc || command -v cc || echo none").strip() == "none"
    loaded = [
        line for line in shell("python -v -c 'import src.main' 2>&1").splitlines() if "code object" in line
    ]
    assert loaded
    assert [line for line in loaded if ".pyc" not in line] == [], "compiled at this start"


def test_only_the_api_can_be_reached_from_the_host(production: Running) -> None:
    for service in ("redis", "postgres", "rqworker"):
        for container in production.containers(service):
            assert not any(container["NetworkSettings"]["Ports"].values())


def test_gunicorn_has_two_workers_a_core_and_one_more(production: Running) -> None:
    (container,) = production.containers("fastapi")
    count = "import runpy; print(int(runpy.run_path('gunicorn.conf.py')['cores']() * 2) + 1)"
    wanted = int(production.compose("exec", "-T", "fastapi", "python", "-c", count, form="prod"))
    top = ["docker", "top", container["Id"], "-eo", "pid,args"]
    processes = subprocess.run(top, capture_output=True, text=True, check=True).stdout.splitlines()
    gunicorn = [line for line in processes if "/venv/bin/gunicorn" in line and "docker-init" not in line]
    assert len(gunicorn) == wanted + 1, "the workers and their master"


def test_an_import_through_the_stack_adds_up(production: Running) -> None:
    ended = production.import_file(CSV)
    assert (ended["status"], ended["rows_total"], ended["rows_done"]) == ("finished", 3_000, 3_000)
    assert figures(production) == expected()


def test_the_same_file_is_not_imported_twice(production: Running) -> None:
    assert production.upload(CSV, "again.csv").status_code == 200
    assert figures(production) == expected()


def test_a_change_of_the_code_on_the_host_changes_nothing(production: Running) -> None:
    before, containers = production.get("/version"), container_ids(production)
    path = production.folder / "src" / "progress_manager.py"
    path.write_text(path.read_text("utf-8") + "\n# changed\n", "utf-8")
    assert production.code() != before["code"]
    # Work in the meantime, for as long as the worker's monitor would need for three looks.
    end = time.monotonic() + 3 * Settings.model_fields["rq_worker_check_interval"].default
    for seed in itertools.count(2):
        assert production.import_file(sales.generated(1_000, seed)[0])["status"] == "finished"
        if time.monotonic() > end:
            break
    wait_until(
        lambda: all(each["state"] == "idle" for each in production.get("/version")["workers"]), 30, "idle"
    )
    after = production.get("/version")
    assert [worker["code"] for worker in after["workers"]] == [before["code"]] * 3
    assert (after["code"], container_ids(production)) == (before["code"], containers)
    log = production.compose("logs", "--no-color", "fastapi", "rqworker", form="prod")
    assert "Starting Sales Dashboard API..." in log
    for line in ("reloader process", "Will watch for changes", "Code change detected", "CODE CHANGED"):
        assert line not in log


def test_make_prod_again_replaces_the_code_and_nothing_else(production: Running) -> None:
    before, secrets = container_ids(production), (production.folder / ".env").read_text("utf-8")
    production.make("prod")
    production.wait_for_code(production.code(), workers=3)
    after = container_ids(production)
    assert [after[name] for name in ("redis", "postgres")] == [before[name] for name in ("redis", "postgres")]
    assert not set(after["fastapi"]) & set(before["fastapi"])
    assert (production.folder / ".env").read_text("utf-8") == secrets


def test_code_that_does_not_compile_replaces_nothing(production: Running) -> None:
    before, version = container_ids(production), production.get("/version")
    path = production.folder / "src" / "sales" / "jobs.py"
    good = path.read_text("utf-8")
    path.write_text(good + "\ndef broken(:\n", "utf-8")
    try:
        assert "SyntaxError" in production.make("prod", fails=True)
    finally:
        path.write_text(good, "utf-8")
    assert container_ids(production) == before
    assert production.get("/version")["code"] == version["code"]


def test_data_survives_down_and_prod_again(production: Running) -> None:
    before = figures(production)
    production.make("down")
    assert set(map(len, container_ids(production).values())) == {0}
    production.make("prod")
    assert figures(production) == before


def test_the_data_outlives_a_lost_env_file(production: Running) -> None:
    before = figures(production)
    production.make("down")
    old = (production.folder / ".env").read_text("utf-8")
    (production.folder / ".env").unlink()
    shutil.rmtree(production.folder / "data", ignore_errors=True)
    output = production.make("prod")
    assert "password" in output
    assert (production.folder / ".env").read_text("utf-8") != old
    assert figures(production) == before
    production.wait_for_code(production.code(), workers=3)
