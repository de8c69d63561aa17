"""The compose files, read as they are and rendered by `docker compose config`, which needs no daemon."""

import json
import os
import re
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from src.kit import production
from src.settings import Settings
from tests.conftest import ROOT
from tests.kit.compose_files import (
    BASE,
    DEV,
    FORMS,
    PROD,
    PRODUCTION_LIKE,
    command,
    render,
    run_docker,
    services,
)
from tools import secret_files

OURS = ("fastapi", "rqworker", "migrate")
LASTING = ("fastapi", "rqworker", "redis", "postgres")
SECRETS = {
    "fastapi": {"postgres_password", "redis_password", "api_keys"},
    "rqworker": {"postgres_password", "redis_password", "api_keys"},
    "migrate": {"postgres_password", "redis_password", "api_keys"},
    "redis": {"redis_password"},
    "postgres": {"postgres_password"},
}
ORDER = (
    "<<", "image", "build", "entrypoint", "command", "init", "user", "environment", "secrets", "volumes",
    "ports", "networks", "depends_on", "healthcheck", "stop_grace_period", "restart", "shm_size", "deploy",
    "logging", "read_only", "tmpfs", "cap_drop", "security_opt",
)  # fmt: skip
DEVELOPMENT_COMMAND = (
    "uvicorn src.main:app --host 0.0.0.0 --port 8000 --reload --reload-dir /app/src "
    "--reload-dir /app/migrations --log-level debug"
)


def raw(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return content


@pytest.mark.parametrize("path", [BASE, DEV, PROD], ids=lambda path: path.name)
def test_the_files_hold_nothing_that_swarm_or_replicas_reject(path: Path) -> None:
    content = raw(path)
    assert "version" not in content
    for name, service in content["services"].items():
        assert "container_name" not in service, name
        assert isinstance(service.get("depends_on", []), list), f"{name}: depends_on in its short form only"


@pytest.mark.parametrize("path", [BASE, DEV, PROD], ids=lambda path: path.name)
def test_keys_stand_in_the_same_order_in_every_service(path: Path) -> None:
    root = yaml.compose(path.read_text("utf-8"))
    assert isinstance(root, yaml.MappingNode)
    blocks = {key.value: value for key, value in root.value}
    for name, service in blocks["services"].value:
        keys = [key.value for key, _ in service.value]
        assert keys == sorted(keys, key=ORDER.index), f"{name.value} in {path.name}"


def test_what_is_handed_on_from_the_environment_is_a_setting() -> None:
    known = {name.upper() for name in Settings.model_fields} | {"WEB_CONCURRENCY"}
    for path in (BASE, DEV):
        for name in OURS:
            environment = raw(path)["services"][name]["environment"]
            handed_on = {key for key, value in environment.items() if value is None}
            assert handed_on <= known, f"{name} in {path.name}"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_five_services(form: str) -> None:
    assert set(services(form)) == {*OURS, "redis", "postgres"}


@pytest.mark.parametrize("form", FORMS)
def test_one_image_serves_all_of_ours(form: str) -> None:
    assert {services(form)[name]["image"] for name in OURS} == {"sales-dashboard"}


def test_only_development_starts_with_code_that_does_not_compile() -> None:
    targets = {form: {services(form)[name]["build"].get("target") for name in OURS} for form in FORMS}
    assert targets == {"base": {None}, "development": {"development"}, "production": {None}}


def test_the_image_does_not_say_which_environment_it_is() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert "ENVIRONMENT" not in dockerfile
    assert "# syntax=" not in dockerfile, "the built-in frontend will do, without a registry"


@pytest.mark.parametrize("form", FORMS)
def test_every_service_has_the_secrets_that_it_needs_as_files(form: str) -> None:
    rendered = render(form)
    names = {file.name for file in secret_files_of(rendered)}
    assert names == {*secret_files.NAMES}
    for name, service in rendered["services"].items():
        assert {secret["source"] for secret in service["secrets"]} == SECRETS[name], name
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or (key.endswith("_FILE") and value.startswith("/run/secrets/")), key


def secret_files_of(rendered: dict[str, Any]) -> list[Path]:
    return [Path(secret["file"]) for secret in rendered["secrets"].values()]


def test_one_line_in_the_file_makes_the_secrets_of_a_copied_one(tmp_path: Path) -> None:
    (line,) = re.findall(r"(?m)^# (mkdir .*)$", BASE.read_text("utf-8"))
    subprocess.run(["sh", "-ec", line], cwd=tmp_path, check=True)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    contents = [(tmp_path / "secrets" / name).read_text().strip() for name in secret_files.NAMES]
    assert len({*contents}) == 3
    assert all(len(content) >= production.SHORTEST_SECRET for content in contents)


def test_development_asks_for_no_key() -> None:
    assert services("development")["fastapi"]["environment"]["API_KEYS_FILE"] == ""


@pytest.mark.parametrize("form", FORMS)
def test_only_the_api_publishes_a_port(form: str) -> None:
    published = {name: service["ports"] for name, service in services(form).items() if "ports" in service}
    assert list(published) == ["fastapi"]
    assert [(port["published"], port["target"]) for port in published["fastapi"]] == [("8000", 8000)]
    moved = render(form, API_PORT="8123")["services"]["fastapi"]["ports"]
    assert [port["published"] for port in moved] == ["8123"]


@pytest.mark.parametrize("form", FORMS)
def test_redis_and_the_database_are_on_an_internal_network_only(form: str) -> None:
    rendered = render(form)
    for name in ("redis", "postgres"):
        networks = rendered["services"][name]["networks"]
        assert networks
        assert all(rendered["networks"][network]["internal"] for network in networks)
    assert "default" in rendered["services"]["fastapi"]["networks"]


@pytest.mark.parametrize("form", FORMS)
def test_the_data_is_in_named_volumes(form: str) -> None:
    for name, target in (("redis", "/data"), ("postgres", "/var/lib/postgresql")):
        mounts = services(form)[name]["volumes"]
        lasting = [(mount["type"], mount["target"]) for mount in mounts if mount["type"] == "volume"]
        assert ("volume", target) in lasting
        assert {*lasting} <= {("volume", target), ("volume", "/var/run/postgresql")}
    assert "--appendonly yes" in command(form, "redis")


@pytest.mark.parametrize("form", FORMS)
def test_every_lasting_service_has_a_health_check(form: str) -> None:
    for name in LASTING:
        assert services(form)[name]["healthcheck"]["test"], name
    assert "healthcheck" not in services(form)["migrate"]


@pytest.mark.parametrize("form", FORMS)
def test_the_other_processes_run_the_same_command_everywhere(form: str) -> None:
    assert command(form, "rqworker") == "python -m src.rq_worker"
    assert command(form, "migrate") == "alembic upgrade head"


def test_development_runs_uvicorn_with_reload_as_process_1() -> None:
    fastapi = services("development")["fastapi"]
    assert shlex.join(fastapi["command"]) == DEVELOPMENT_COMMAND
    assert fastapi["init"] is False
    assert services("development")["rqworker"]["environment"]["RQ_WORKER_AUTORELOAD"] == "true"
    for name in OURS:
        assert services("development")[name]["environment"]["ENVIRONMENT"] == "development"


def test_development_mounts_the_code_and_the_log_folder() -> None:
    expected = {f"./{name}": f"/app/{name}" for name in ("src", "migrations", "gunicorn.dev.conf.py", "logs")}
    for name in OURS:
        mounts = services("development")[name]["volumes"]
        found = {f"./{Path(mount['source']).relative_to(ROOT)}": mount["target"] for mount in mounts}
        assert found == expected, name
        assert all(mount["type"] == "bind" and not mount.get("read_only") for mount in mounts)


def test_development_runs_as_the_user_of_the_host() -> None:
    rendered = render("development", HOST_UID="1234", HOST_GID="5678")["services"]
    for name in OURS:
        assert rendered[name]["user"] == "1234:5678"
        assert rendered[name]["environment"]["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize("form", PRODUCTION_LIKE)
def test_production_runs_the_code_of_the_image_and_never_reloads(form: str) -> None:
    for name in OURS:
        service = services(form)[name]
        assert service["environment"]["ENVIRONMENT"] == "production"
        mounts = [mount["type"] for mount in service.get("volumes", [])]
        assert set(mounts) <= {"tmpfs"}, f"{name} mounts nothing of the host's"
        assert "reload" not in shlex.join(service["command"])
        assert service["environment"].get("RQ_WORKER_AUTORELOAD", "false") == "false"
    autoreload = render(form, RQ_WORKER_AUTORELOAD="true")["services"]["rqworker"]["environment"]
    assert autoreload.get("RQ_WORKER_AUTORELOAD", "false") == "false"


@pytest.mark.parametrize("form", PRODUCTION_LIKE)
def test_gunicorn_config_selects_the_settings_of_gunicorn(form: str) -> None:
    assert command(form, "fastapi") == "gunicorn -c gunicorn.conf.py"
    assert command(form, "fastapi", GUNICORN_CONFIG="other.conf.py") == "gunicorn -c other.conf.py"


def test_production_has_three_workers() -> None:
    assert services("production")["rqworker"]["deploy"]["replicas"] == 3
    assert services("production")["rqworker"]["environment"]["RQ_WORKER_AUTORELOAD"] == "false"


def test_production_restarts_what_ends() -> None:
    found = {name: service["restart"] for name, service in services("production").items()}
    assert found == dict.fromkeys(LASTING, "unless-stopped") | {"migrate": "on-failure"}


def test_production_rotates_every_log_and_limits_every_service() -> None:
    for name, service in services("production").items():
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name


def test_one_core_is_the_limit_unless_it_is_known_that_there_are_more() -> None:
    def limits(**environment: str) -> dict[str, float]:
        rendered = render("production", **environment)["services"]
        return {name: service["deploy"]["resources"]["limits"]["cpus"] for name, service in rendered.items()}

    assert set(limits().values()) == {1}, "Docker refuses more cores than there are"
    more = limits(CPU_LIMIT="6")
    assert {name for name, cores in more.items() if cores == 6} == {"fastapi", "postgres"}


def test_production_takes_away_what_nobody_needs() -> None:
    for name, service in services("production").items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("user") != "root", name
        assert service["read_only"] is True, name
        assert service["init"] is True, name
    for name in OURS:
        assert [mount["target"] for mount in services("production")[name]["volumes"]] == ["/tmp"], name  # noqa: S108


def test_swarm_replaces_ours_when_the_next_one_is_healthy_and_keeps_the_data_on_its_node() -> None:
    for name in ("fastapi", "rqworker"):
        update = services("production")[name]["deploy"]["update_config"]
        assert (update["order"], update["failure_action"]) == ("start-first", "rollback"), name
    for name in ("redis", "postgres"):
        deploy = services("production")[name]["deploy"]
        assert deploy["placement"]["constraints"] == ["node.labels.data == true"], name
        assert deploy.get("update_config", {}).get("order", "stop-first") == "stop-first", name


def test_production_has_nothing_that_swarm_ignores_and_it_needs() -> None:
    # Seen with Docker 28.2: each is dropped, with a warning at best, and tmpfs without a word.
    for name, service in services("production").items():
        assert not service.keys() & {"tmpfs", "shm_size", "pid", "ipc", "links", "devices"}, name


def test_the_override_of_the_docs_leaves_out_the_database_and_redis(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "DEPLOYMENT.md").read_text(), re.DOTALL)
    override = tmp_path / "docker-compose.override.yml"
    override.write_text(next(block for block in blocks if "replicas: 0" in block))
    files = [part for path in (BASE, PROD, override) for part in ("-f", str(path))]
    nothing = ("--env-file", os.devnull)
    result = run_docker("compose", *nothing, *files, "config", "--format", "json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["services"]
    assert [found[name]["deploy"]["replicas"] for name in ("redis", "postgres")] == [0, 0]
    for name in OURS:
        assert "db.example.com" in found[name]["environment"]["DATABASE_URL"]
        assert "redis.example.com" in found[name]["environment"]["REDIS_URL"]
        assert "default" in found[name]["networks"], f"{name} reaches the outside"


def test_swarm_accepts_the_production_files() -> None:
    if "\n  config " not in run_docker("stack", "--help").stdout:
        pytest.skip("this docker command is too old to check the files for Swarm")
    result = run_docker("stack", "config", "-c", str(BASE), "-c", str(PROD))
    assert result.returncode == 0, result.stderr
