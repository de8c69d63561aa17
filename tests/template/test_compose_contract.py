"""The compose files, read as they are and rendered by `docker compose config`, which needs no daemon."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from src.settings import Settings
from tests.conftest import ROOT
from tests.kit.compose_files import (
    BASE,
    DEV,
    FORMS,
    PROD,
    PRODUCTION_LIKE,
    PROJECT,
    TLS,
    command,
    content_of,
    render,
    services,
)  # fmt: skip
from tools import secret_files

OURS = "fastapi rqworker migrate"
DATA = "redis postgres"
LASTING = f"fastapi rqworker {DATA}"
EVERY = f"{OURS} {DATA}"
CLOSED = f"{EVERY} backup edge"
ORDER = (
    "<<", "image", "build", "develop", "entrypoint", "command", "init", "user", "environment", "secrets",
    "volumes", "ports", "networks", "network_mode", "depends_on", "healthcheck", "stop_grace_period",
    "restart", "shm_size", "deploy", "logging", "read_only", "tmpfs", "cap_drop", "cap_add", "security_opt",
)  # fmt: skip
DEVELOPMENT_COMMAND = (
    "uvicorn src.main:app --host 0.0.0.0 --port 8000 --reload --reload-dir /app/src "
    "--reload-dir /app/migrations --log-level debug"
)
ANY = "base development production"
IMAGE = "base production"
SOME = object()
"""Any value, but not none."""

# forms, services, key, value (None where there must not be one)
TABLE: list[tuple[str, str, str, object]] = [
    (ANY, OURS, "image", f"sales-dashboard:{PROJECT}"),  # two clones share none
    (ANY, LASTING, "depends_on.secrets.condition", "service_completed_successfully"),
    # `up --wait` counts a service that has ended as failed, unless another one waits for its end.
    (ANY, "rqworker", "depends_on.migrate.condition", "service_completed_successfully"),
    (ANY, "fastapi", "depends_on.migrate", None),  # it starts beside it
    ("development", OURS, "build.target", "development"),  # only this one takes code that does not compile
    (IMAGE, OURS, "build.target", None),
    ("development", "fastapi", "command", shlex.split(DEVELOPMENT_COMMAND)),
    (IMAGE, "fastapi", "command", ["gunicorn", "-c", "gunicorn.conf.py"]),
    (ANY, "rqworker", "command", ["python", "-m", "src.rq_worker"]),
    (ANY, "migrate", "command", ["alembic", "upgrade", "head"]),
    ("development", OURS, "environment.ENVIRONMENT", "development"),
    (IMAGE, OURS, "environment.ENVIRONMENT", "production"),
    ("development", "rqworker", "environment.RQ_WORKER_AUTORELOAD", "true"),
    ("production", "rqworker", "environment.RQ_WORKER_AUTORELOAD", "false"),
    (IMAGE, "fastapi migrate", "environment.RQ_WORKER_AUTORELOAD", None),
    (IMAGE, "fastapi", "environment.API_KEYS_FILE", "/run/secrets/api_keys"),
    (ANY, "rqworker migrate", "environment.API_KEYS_FILE", None),
    (ANY, OURS, "environment.WORKER_STOP_GRACE_PERIOD", "330s"),  # `make prod` asks the API
    ("development", "fastapi", "environment.API_KEYS_FILE", ""),  # development asks for no key
    ("development", OURS, "environment.PYTHONDONTWRITEBYTECODE", "1"),
    ("development", "fastapi", "init", False),  # uvicorn's reloader is process 1
    (ANY, LASTING, "healthcheck.test", SOME),
    (ANY, "migrate", "healthcheck", None),
    (ANY, f"rqworker migrate {DATA}", "ports", None),
    (ANY, "fastapi rqworker", "networks", {"data": None, "default": None}),
    (ANY, f"migrate {DATA}", "networks", {"data": None}),
    ("production", "fastapi", "ports", None),
    ("production", "fastapi", "environment.TRUSTED_PROXY", "edge"),
    ("production", "rqworker", "deploy.replicas", 3),
    ("production", "backup", "deploy.replicas", 0),  # until BACKUP_EVERY is set
    ("production", "backup", "networks", {"data": None}),
    ("production", "backup", "image", "postgres:18-alpine"),  # the server's, whose files it has to write
    ("production", LASTING, "restart", "unless-stopped"),
    ("production", "migrate", "restart", "on-failure"),
    ("production", CLOSED, "logging.options.max-size", SOME),
    ("production", CLOSED, "logging.options.max-file", SOME),
    ("production", CLOSED, "deploy.resources.limits.cpus", 1),  # Docker refuses more than there are
    ("production", CLOSED, "deploy.resources.limits.memory", SOME),
    ("production", CLOSED, "deploy.resources.limits.pids", SOME),
    ("production", CLOSED, "cap_drop", ["ALL"]),
    ("production", f"{EVERY} backup", "cap_add", None),
    (
        "production",
        "edge",
        "cap_add",
        ["NET_BIND_SERVICE"],
    ),  # or the program of the official image can't start
    ("production", "edge", "networks", {"default": None}),
    ("production", CLOSED, "security_opt", ["no-new-privileges:true"]),
    ("production", CLOSED, "read_only", True),
    ("production", CLOSED, "init", True),
    ("production", f"backup edge {DATA}", "user", SOME),
    # Swarm: ours are replaced when the next one is healthy, and the data stays on its node.
    ("production", "fastapi rqworker", "deploy.update_config.order", "start-first"),
    ("production", "fastapi rqworker", "deploy.update_config.failure_action", "rollback"),
    ("production", f"backup {DATA}", "deploy.placement.constraints", ["node.labels.data == true"]),
    ("production", DATA, "deploy.update_config", None),
    # Swarm, seen with Docker 28.2, drops these, with a warning at best.
    *(("production", CLOSED, key, None) for key in ("tmpfs", "shm_size", "pid", "ipc", "links", "devices")),
]


@pytest.mark.parametrize(("forms", "names", "key", "expected"), TABLE)
def test_every_service_has_what_the_table_says(forms: str, names: str, key: str, expected: object) -> None:
    for form in forms.split():
        for name in names.split():
            value: Any = services(form)[name]
            for part in key.split("."):
                value = (value or {}).get(part)
            right = value is not None if expected is SOME else value == expected
            assert right, f"{form}: {name} has {key} {value!r}"


@pytest.mark.parametrize("path", [BASE, DEV, PROD, TLS], ids=lambda path: path.name)
def test_no_name_is_fixed_and_the_keys_have_one_order(path: Path) -> None:
    content = content_of(path)
    assert not {"version", "name"} & {*content}
    for name, service in content["services"].items():
        assert "container_name" not in service, name
    root = yaml.compose(path.read_text("utf-8"))
    (listed,) = (value for key, value in root.value if key.value == "services")
    for name, service in listed.value:
        keys = [key.value for key, _ in service.value]
        assert keys == sorted(keys, key=ORDER.index), f"{name.value} in {path.name}"


def test_what_is_handed_on_from_the_environment_is_a_setting() -> None:
    known = {name.upper() for name in Settings.model_fields}
    known |= {"WEB_CONCURRENCY", "UVICORN_USE_COLORS", "FORWARDED_ALLOW_IPS"}
    # Read by the SDKs themselves.
    known |= set(re.findall(r"(?m)^# ((?:OTEL|SENTRY)_\w+)=", (ROOT / ".env.example").read_text()))
    for path in (BASE, DEV):
        for name in OURS.split():
            environment = content_of(path)["services"][name]["environment"]
            assert {key for key, value in environment.items() if value is None} <= known, (
                f"{name} in {path.name}"
            )


def test_the_image_does_not_say_which_environment_it_is() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert "ENVIRONMENT" not in dockerfile
    assert "# syntax=" not in dockerfile, "the built-in frontend will do, without a registry"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_five_services_and_each_can_read_the_secrets_that_it_needs(form: str) -> None:
    rendered = render(form)["services"]
    found = {}
    for name, service in rendered.items():
        for mount in service["volumes"]:
            if mount["target"] == "/run/secrets":
                found[name] = (mount["source"], mount["read_only"])
        for key, value in service.get("environment", {}).items():
            assert "PASSWORD" not in key or (key.endswith("_FILE") and value.startswith("/run/secrets/")), key
    expected = {name: (f"secrets-{name}", True) for name in DATA.split()} | {
        "fastapi": ("secrets-app", True),
        **dict.fromkeys(("rqworker", "migrate"), ("secrets-worker", True)),
    }
    if form == "production":
        expected["backup"] = ("secrets-postgres", True)
    assert found == expected
    maker = rendered.pop("secrets")
    assert rendered.keys() - {"edge"} == found.keys()
    assert (maker["network_mode"], maker["cap_drop"], maker["read_only"]) == ("none", ["ALL"], True)
    assert {mount["source"] for mount in maker["volumes"]} == {
        str(ROOT / "secrets"), *(source for source, _ in found.values())
    }  # fmt: skip
    assert all(f" {name}" in maker["command"][0] for name in secret_files.NAMES)


@pytest.mark.parametrize("form", FORMS)
def test_the_api_publishes_one_port_on_this_machine_that_can_be_moved_and_the_data_is_out_of_reach(
    form: str,
) -> None:
    for address, port, variables in (
        ("127.0.0.1", "8000", {}),
        ("0.0.0.0", "8123", {"API_PORT": "8123", "API_BIND": "0.0.0.0"}),  # noqa: S104
    ):
        outside = "edge" if form == "production" else "fastapi"
        rendered = render(form, **variables)["services"]
        assert [name for name, service in rendered.items() if service.get("ports")] == [outside]
        (published,) = rendered[outside]["ports"]
        assert (published["host_ip"], published["published"], published["target"]) == (address, port, 8000)
    assert render(form)["networks"]["data"]["internal"]


@pytest.mark.parametrize("form", FORMS)
def test_the_data_is_in_named_volumes(form: str) -> None:
    for name, target in (("redis", "/data"), ("postgres", "/var/lib/postgresql")):
        mounts = services(form)[name]["volumes"]
        lasting = {mount["target"] for mount in mounts if mount["type"] == "volume"}
        assert target in lasting
        assert lasting <= {target, "/run/secrets", "/var/run/postgresql"}
    assert "--appendonly yes" in command(form, "redis")


def test_development_mounts_the_code_and_the_log_folder_as_the_user_of_the_host() -> None:
    expected = {f"./{name}": f"/app/{name}" for name in ("src", "migrations", "logs")}
    rendered = render("development", HOST_UID="1234", HOST_GID="5678")["services"]
    for name in OURS.split():
        (project,) = (mount for mount in rendered[name]["volumes"] if mount["target"] == "/project")
        assert (project["source"], project["read_only"]) == (str(ROOT), True), "for .env"
        others = ("/project", "/run/secrets")
        mounts = [mount for mount in rendered[name]["volumes"] if mount["target"] not in others]
        found = {f"./{Path(mount['source']).relative_to(ROOT)}": mount["target"] for mount in mounts}
        assert found == expected, name
        assert all(mount["type"] == "bind" and not mount.get("read_only") for mount in mounts)
        assert rendered[name]["user"] == "1234:5678"


def test_a_change_in_env_of_what_compose_reads_is_named() -> None:
    used = {name for path in (BASE, DEV) for name in re.findall(r"(?<!\$)\$\{([A-Z_]+)", path.read_text())}
    in_production = {"GUNICORN_CONFIG"}  # its command has another one in development
    for name in ("fastapi", "rqworker"):
        environment = services("development")[name]["environment"]
        with_default = {pair.partition("=")[0] for pair in environment["RELOAD_ENV_DEFAULTS"].split()}
        assert used - in_production - with_default <= set(environment["RELOAD_ENV_FIXED"].split())


@pytest.mark.parametrize("form", PRODUCTION_LIKE)
def test_production_runs_the_code_of_the_image_and_never_reloads(form: str) -> None:
    rendered = render(form, RQ_WORKER_AUTORELOAD="true", GUNICORN_CONFIG="other.conf.py")["services"]
    assert rendered["rqworker"]["environment"].get("RQ_WORKER_AUTORELOAD", "false") == "false"
    assert rendered["fastapi"]["command"] == ["gunicorn", "-c", "other.conf.py"]
    for name in OURS.split():
        mounts = {(mount["type"], mount["target"]) for mount in rendered[name].get("volumes", [])}
        writable = {("tmpfs", "/tmp"), ("volume", "/var/tmp")} if form == "production" else set()  # noqa: S108
        assert mounts == writable | {("volume", "/run/secrets")}, name
        assert all(
            "size" in mount["tmpfs"] for mount in rendered[name]["volumes"] if mount["type"] == "tmpfs"
        )
        assert "reload" not in shlex.join(rendered[name]["command"])
