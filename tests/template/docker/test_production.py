"""`make prod` on Docker: one stack, on which the tests build in this order."""

import json
import secrets
import stat
import subprocess
import time
from pathlib import Path

import httpx2
import pytest

from src.settings import Settings
from tests.conftest import wait_until
from tests.template.docker.running import Running

OURS = ("fastapi", "rqworker")


@pytest.fixture(scope="module")
def production(clone: Running) -> Running:
    """The production stack, running in the background."""
    clone.make("prod", seconds=300)
    return clone


def container_ids(running: Running) -> dict[str, list[str]]:
    services = ("fastapi", "rqworker", "redis", "postgres")
    return {service: [container["Id"] for container in running.containers(service)] for service in services}


def test_it_made_secrets_that_only_the_user_can_reach(production: Running) -> None:
    folder = production.folder / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    contents = [path.read_text("ascii").strip() for path in folder.iterdir()]
    assert len({*contents}) == 3
    assert stat.S_IMODE((production.folder / ".env").stat().st_mode) == 0o600


def test_three_workers_and_the_api_run_the_same_code(production: Running) -> None:
    version = production.wait_for_code(production.code(), workers=3)
    assert version["environment"] == "production"


def test_nothing_is_mounted_and_nothing_can_be_written(production: Running) -> None:
    for service, count in (("fastapi", 1), ("rqworker", 3)):
        containers = production.containers(service)
        assert len(containers) == count
        for container in containers:
            for mount in container["Mounts"]:
                is_secret = (Path(mount["Destination"]).parent, mount["RW"]) == (Path("/run/secrets"), False)
                assert is_secret or (mount["Type"], mount["Destination"]) == ("tmpfs", "/tmp")  # noqa: S108
            assert container["Config"]["User"] == "10001:10001"


def test_every_container_has_what_keeps_it_in(production: Running) -> None:
    for service in ("fastapi", "rqworker", "redis", "postgres"):
        for container in production.containers(service):
            host, name = container["HostConfig"], container["Name"]
            assert container["Config"]["User"] not in ("", "0", "root"), name
            assert host["ReadonlyRootfs"], name
            assert host["CapDrop"] == ["ALL"], name
            assert not host["CapAdd"], name
            assert not host["Privileged"], name
            assert host["SecurityOpt"] == ["no-new-privileges:true"], name
            assert host["Init"], name
            assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0, name
            assert {*host["LogConfig"]["Config"]} == {"max-size", "max-file"}, name
            assert host["RestartPolicy"]["Name"] == "unless-stopped", name
            # Process 1 and all its children: nobody is root, nobody may become it, nothing may be done as it.
            status = ["docker", "exec", container["Id"], "cat", "/proc/1/status"]
            lines = subprocess.run(status, capture_output=True, text=True, check=True).stdout.splitlines()
            fields = {key: value.split() for key, _, value in (line.partition(":") for line in lines)}
            assert "0" not in fields["Uid"], name
            assert fields["NoNewPrivs"] == ["1"], name
            assert {int(fields[key][0], 16) for key in ("CapEff", "CapPrm", "CapBnd")} == {0}, name


def test_no_secret_can_be_seen_from_outside(production: Running) -> None:
    inspected = ""
    for service in ("fastapi", "rqworker", "migrate", "redis", "postgres"):
        for container in production.containers(service, ended=True):
            inspected += json.dumps(container)
            if container["State"]["Running"]:
                top = ["docker", "top", container["Id"], "-eo", "pid,args"]
                inspected += subprocess.run(top, capture_output=True, text=True, check=True).stdout
    assert "redis-server" in inspected
    assert "POSTGRES_PASSWORD_FILE" in inspected
    seen = {
        "inspect and the processes": inspected,
        "the logs": production.compose("logs", "--no-color", form="prod"),
        "/version": json.dumps(production.get("/version")),
        "the image": subprocess.run(
            ["docker", "history", "--no-trunc", production.environment["APP_IMAGE"]],
            capture_output=True, text=True, check=True,
        ).stdout,
    }  # fmt: skip
    for path in (production.folder / "secrets").iterdir():
        secret = path.read_text("ascii").strip()
        assert len(secret) >= 32
        for where, text in seen.items():
            assert text
            assert secret not in text, f"{path.name} in {where}"


def test_the_api_asks_for_the_key_that_make_prints(production: Running) -> None:
    url = f"http://localhost:{production.port}"
    made = subprocess.run(
        ["make", "-s", "api-key"], cwd=production.folder, env=production.environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    key = made.stdout.strip()
    assert made.stdout == f"{key}\n"
    assert httpx2.get(f"{url}/health/ready").status_code == 200
    for path in ("/", "/version", "/docs", "/nowhere"):
        refused = httpx2.get(url + path)
        assert (refused.status_code, refused.headers["WWW-Authenticate"][:6]) == (401, "Basic ")
        assert httpx2.get(url + path, headers={"X-API-Key": key}).status_code == (
            404 if path == "/nowhere" else 200
        )
    assert httpx2.get(url + "/version", auth=("anybody", key)).status_code == 200
    foreign = httpx2.get(url + "/version", headers={"X-API-Key": key, "Host": "evil.test"})
    assert (foreign.status_code, "ALLOWED_HOSTS" in foreign.text) == (400, True)


def test_redis_asks_for_its_password(production: Running) -> None:
    answer = production.compose("exec", "-T", "redis", "redis-cli", "ping", form="prod")
    assert "NOAUTH" in answer


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


def test_a_change_of_the_code_on_the_host_changes_nothing(production: Running) -> None:
    before, containers = production.get("/version"), container_ids(production)
    path = production.folder / "src" / "progress_manager.py"
    path.write_text(path.read_text("utf-8") + "\n# changed\n", "utf-8")
    assert production.code() != before["code"]
    # Watch it for as long as the worker's monitor would need for three looks.
    end = time.monotonic() + 3 * Settings.model_fields["rq_worker_check_interval"].default
    wait_until(lambda: production.get("/version") and time.monotonic() > end)
    after = production.get("/version")
    assert [worker["code"] for worker in after["workers"]] == [before["code"]] * 3
    assert (after["code"], container_ids(production)) == (before["code"], containers)
    log = production.compose("logs", "--no-color", "fastapi", "rqworker", form="prod")
    assert "Starting Sales Dashboard API..." in log
    for line in ("reloader process", "Will watch for changes", "Code change detected", "CODE CHANGED"):
        assert line not in log


def test_make_prod_again_replaces_the_code_and_nothing_else(production: Running) -> None:
    before, environment = container_ids(production), (production.folder / ".env").read_text("utf-8")
    production.make("prod")
    production.wait_for_code(production.code(), workers=3)
    after = container_ids(production)
    assert [after[name] for name in ("redis", "postgres")] == [before[name] for name in ("redis", "postgres")]
    assert not set(after["fastapi"]) & set(before["fastapi"])
    assert (production.folder / ".env").read_text("utf-8") == environment


def test_code_that_does_not_compile_replaces_nothing(production: Running) -> None:
    before, version = container_ids(production), production.get("/version")
    path = production.folder / "src" / "kit" / "redis.py"
    good = path.read_text("utf-8")
    path.write_text(good + "\ndef broken(:\n", "utf-8")
    try:
        assert "SyntaxError" in production.make("prod", fails=True)
    finally:
        path.write_text(good, "utf-8")
    assert container_ids(production) == before
    assert production.get("/version")["code"] == version["code"]


def test_a_key_is_rotated_by_adding_one_and_taking_the_old_one_out(production: Running) -> None:
    file, before = production.folder / "secrets" / "api_keys", container_ids(production)
    url = f"http://localhost:{production.port}/version"
    old, new = file.read_text("ascii").strip(), secrets.token_hex(32)

    def statuses() -> list[int]:
        return [httpx2.get(url, headers={"X-API-Key": key}).status_code for key in (old, new)]

    assert statuses() == [200, 401]
    file.write_text(f"{old}\n{new}\n", "ascii")
    production.make("prod")
    assert statuses() == [200, 200]
    file.write_text(f"{new}\n", "ascii")
    production.make("prod")
    assert statuses() == [401, 200]
    after = container_ids(production)
    assert [after[name] for name in ("redis", "postgres")] == [before[name] for name in ("redis", "postgres")]


def test_a_password_is_renewed_by_deleting_its_file(production: Running) -> None:
    before = container_ids(production)
    for name in ("redis_password", "postgres_password"):
        (production.folder / "secrets" / name).unlink()
    production.make("prod")
    production.wait_for_code(production.code(), workers=3)
    after = container_ids(production)
    for service, containers in before.items():
        assert not {*containers} & {*after[service]}, service


def test_make_prod_says_what_production_refuses_and_replaces_nothing(production: Running) -> None:
    before = container_ids(production)
    output = production.make("prod", fails=True, LOG_LEVEL="debug", ALLOWED_HOSTS="*")
    assert "Traceback" not in output
    for sentence in ("LOG_LEVEL is debug", "Set LOG_LEVEL=info.", "ALLOWED_HOSTS allows every name"):
        assert output.count(sentence) == 1, output
    assert "Nothing was replaced." in output
    assert container_ids(production) == before


def test_make_prod_does_not_wait_for_a_container_that_keeps_ending(production: Running) -> None:
    output = production.make("prod", fails=True, GUNICORN_CONFIG="gunicorn.dev.conf.py")
    assert output.count("The API server reloads code") == 1, output
    assert "The stack did not become healthy: fastapi" in output
    production.make("prod")
    production.wait_for_code(production.code(), workers=3)
