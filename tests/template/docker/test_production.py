"""`make prod` on Docker: one stack, on which the tests build in this order."""

import json
import secrets
import stat
import time

import httpx2

from src.settings import Settings
from tests.conftest import wait_until
from tests.kit.production_process import parse_lines
from tests.template import docs
from tests.template.docker import engine
from tests.template.docker.engine import docker
from tests.template.running import Running, edit

DATA = ("redis", "postgres")


def data_of(ids: dict[str, set[str]]) -> list[set[str]]:
    return [ids[name] for name in DATA]


def test_three_workers_and_the_api_run_the_same_code(production: Running) -> None:
    assert production.wait_for_code(workers=3)["environment"] == "production"


def test_every_container_is_closed_and_mounts_nothing_of_the_host(production: Running) -> None:
    folder = production.folder / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((production.folder / ".env").stat().st_mode) == 0o600
    found = [path.read_text("ascii").strip() for path in folder.glob("[a-z]*")]
    assert (len({*found}), min(map(len, found)) >= 32) == (3, True)
    for service, count in engine.COUNTS.items():
        containers = production.containers(service)
        assert len(containers) == count
        for container in containers:
            status = engine.check_closed(container["Id"], found)
            assert status["NoNewPrivs"] == ["1"]
            for mount in container["Mounts"] if service not in DATA else ():
                is_secret = (mount["Type"], mount["Destination"], mount["RW"]) == (
                    "volume",
                    "/run/secrets",
                    False,
                )
                expected = ("tmpfs", "/tmp"), ("volume", "/var/tmp")  # noqa: S108
                assert is_secret or (mount["Type"], mount["Destination"]) in expected
    running = [container["Id"] for service in engine.COUNTS for container in production.containers(service)]
    seen = {
        "the processes": "".join(docker("top", container, "-eo", "pid,args") for container in running),
        "the logs": production.compose("logs", "--no-color"),
        "/version": json.dumps(production.get("/version")),
        "the image": docker("history", "--no-trunc", production.environment["APP_IMAGE"]),
    }
    assert "redis-server" in seen["the processes"]
    for where, text in seen.items():
        assert text
        assert not [secret for secret in found if secret in text], where


def test_each_service_can_read_the_secrets_that_it_needs(production: Running) -> None:
    passwords = {"postgres_password", "redis_password"}
    for service, expected in {
        "fastapi": passwords | {"api_keys"}, "rqworker": passwords,
        "postgres": {"postgres_password"}, "redis": {"redis_password"},
    }.items():  # fmt: skip
        assert {*production.inside(service, "ls", "/run/secrets").split()} == expected, service
    listing = production.compose("run", "--rm", "--no-deps", "--no-TTY", "migrate", "ls", "/run/secrets")
    assert {*listing.split()} == passwords


def test_the_role_of_the_application_owns_its_database_and_is_no_superuser(production: Running) -> None:
    rights = "rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    assert engine.sql(production, f"SELECT {rights} FROM pg_roles WHERE rolname = 'app'") == "t|f|f|f|f|f"
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'"
    assert engine.sql(production, owner) == "app"
    for user, problem in (("app", "connected"), ("postgres", "password authentication failed")):
        program = (
            "import psycopg; password = open('/run/secrets/postgres_password').read().strip()\n"
            f"try: psycopg.connect(host='postgres', user='{user}', dbname='app', password=password)\n"
            "except psycopg.OperationalError as error: print(error)\n"
            "else: print('connected')"
        )
        assert problem in production.inside("rqworker", "python", "-c", program)


def test_the_containers_log_json_only_and_count_requests_though_nothing_else_can_be_written(
    production: Running,
) -> None:
    headers = {"X-Request-ID": "from-outside"}
    response = httpx2.get(f"http://127.0.0.1:{production.port}/health/live", headers=headers)
    assert response.headers["X-Request-ID"] == "from-outside"

    def log(service: str) -> str:
        return production.compose("logs", "--no-log-prefix", "--no-color", service)

    wait_until(lambda: '"request_id": "from-outside"' in log("fastapi"), what="the line of the request")
    for service in ("fastapi", "rqworker"):
        assert parse_lines(log(service)), service
    assert "counter_" in production.inside("fastapi", "sh", "-c", "ls /dev/shm/metrics-*")


def test_the_api_asks_for_the_key_that_make_prints_and_redis_for_its_password(production: Running) -> None:
    url = f"http://localhost:{production.port}"
    (key,) = production.make("-s api-key").splitlines()
    assert httpx2.get(f"{url}/health/ready").status_code == 200
    for path, status in (("/", 200), ("/version", 200), ("/docs", 200), ("/nowhere", 404)):
        refused = httpx2.get(url + path)
        assert (refused.status_code, refused.headers["WWW-Authenticate"][:6]) == (401, "Basic ")
        assert httpx2.get(url + path, headers={"X-API-Key": key}).status_code == status
    foreign = httpx2.get(url + "/version", headers={"X-API-Key": key, "Host": "evil.test"})
    assert (foreign.status_code, "ALLOWED_HOSTS" in foreign.text) == (400, True)
    assert "NOAUTH" in production.inside("redis", "redis-cli", "ping")


def test_the_image_holds_no_compiler_and_the_bytecode_of_everything(production: Running) -> None:
    compiler = production.inside("fastapi", "sh", "-c", "command -v gcc || command -v cc || echo none")
    assert compiler.strip() == "none"
    loaded = production.inside("fastapi", "sh", "-c", "python -v -c 'import src.main' 2>&1").splitlines()
    code = [line for line in loaded if "code object" in line]
    assert code
    assert [line for line in code if ".pyc" not in line] == [], "compiled at this start"


def test_a_change_of_the_code_on_the_host_changes_nothing(production: Running) -> None:
    before, containers = production.get("/version"), engine.ids(production)
    edit(production.folder / "src" / "progress_manager.py", "\n# changed\n")
    # Watch it for as long as the worker's monitor would need for three looks.
    end = time.monotonic() + 3 * Settings.model_fields["rq_worker_check_interval"].default
    wait_until(lambda: production.get("/version") and time.monotonic() > end)
    after = production.get("/version")
    assert {after["code"], *(worker["code"] for worker in after["workers"])} == {before["code"]}
    assert engine.ids(production) == containers
    log = production.compose("logs", "--no-color", "fastapi", "rqworker")
    assert "Starting Sales Dashboard API..." in log
    for line in ("reloader process", "Will watch for changes", "Code change detected", "CODE CHANGED"):
        assert line not in log


def test_make_prod_again_replaces_the_code_and_nothing_else(production: Running) -> None:
    before, environment = engine.ids(production), (production.folder / ".env").read_text("utf-8")
    production.make("prod")
    production.wait_for_code(workers=3)
    after = engine.ids(production)
    assert data_of(after) == data_of(before)
    assert not after["fastapi"] & before["fastapi"]
    assert (production.folder / ".env").read_text("utf-8") == environment


def test_code_that_does_not_compile_replaces_nothing(production: Running) -> None:
    before, version = engine.ids(production), production.get("/version")
    path = production.folder / "src" / "kit" / "redis.py"
    good = edit(path, "\ndef broken(:\n")
    try:
        assert "SyntaxError" in production.make_refused("prod")
    finally:
        path.write_text(good, "utf-8")
    assert engine.ids(production) == before
    assert production.get("/version")["code"] == version["code"]


def test_a_key_is_rotated_by_adding_one_and_taking_the_old_one_out(production: Running) -> None:
    file, before = production.folder / "secrets" / "api_keys", engine.ids(production)
    old, new = file.read_text("ascii").strip(), secrets.token_hex(32)

    def statuses() -> list[int]:
        url = f"http://localhost:{production.port}/version"
        return [httpx2.get(url, headers={"X-API-Key": key}).status_code for key in (old, new)]

    assert statuses() == [200, 401]
    for keys, expected in ((f"{old}\n{new}\n", [200, 200]), (f"{new}\n", [401, 200])):
        file.write_text(keys, "ascii")
        production.make("prod")
        assert statuses() == expected
    assert data_of(engine.ids(production)) == data_of(before)


def test_a_password_is_renewed_by_deleting_its_file(production: Running) -> None:
    before = engine.ids(production)
    for name in DATA:
        (production.folder / "secrets" / f"{name}_password").unlink()
    production.make("prod")
    production.wait_for_code(workers=3)
    after = engine.ids(production)
    assert not [service for service in before if before[service] & after[service]]


def test_make_prod_says_what_production_refuses_and_replaces_nothing(production: Running) -> None:
    before = engine.ids(production)
    output = production.make_refused("prod", LOG_LEVEL="debug", ALLOWED_HOSTS="*")
    assert "Traceback" not in output
    for sentence in ("LOG_LEVEL is debug", "Set LOG_LEVEL=info.", "ALLOWED_HOSTS allows every name"):
        assert output.count(sentence) == 1, output
    assert "Nothing was replaced." in output
    assert engine.ids(production) == before


def test_make_prod_does_not_wait_for_a_container_that_keeps_ending(production: Running) -> None:
    output = production.make_refused("prod", GUNICORN_CONFIG="gunicorn.dev.conf.py")
    assert output.count("The API server reloads code") == 1, output
    assert "The stack did not become healthy: fastapi" in output


def test_the_commands_of_the_production_guide_work(production: Running) -> None:
    production.make("prod")
    production.wait_for_code(workers=3)
    for command in docs.commands("docs/PRODUCTION.md"):
        docs.run(command, production)
    assert production.containers("fastapi") == []
