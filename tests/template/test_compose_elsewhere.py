"""What becomes of the compose files elsewhere: with an override of the docs, on Kubernetes, on a swarm."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.conftest import ROOT
from tests.kit.compose_files import BASE, PROD, render, run_docker, services
from tests.template.test_compose_contract import CLOSED, DATA, OURS
from tools import project, secret_files
from tools.swarm_file import for_swarm


def test_the_override_of_the_docs_leaves_out_the_database_and_redis(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "DEPLOYMENT.md").read_text(), re.DOTALL)
    override = tmp_path / "docker-compose.override.yml"
    override.write_text(next(block for block in blocks if "replicas: 0" in block))
    files = [part for path in (BASE, PROD, override) for part in ("-f", str(path))]
    result = run_docker("compose", "--env-file", os.devnull, *files, "config", "--format", "json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)["services"]
    assert [found[name]["deploy"]["replicas"] for name in DATA.split()] == [0, 0]
    for name in OURS.split():
        assert "db.example.com" in found[name]["environment"]["DATABASE_URL"]
        assert "redis.example.com" in found[name]["environment"]["REDIS_URL"]
        assert "default" in found[name]["networks"], f"{name} reaches the outside"


def test_the_section_on_kubernetes_has_the_commands_times_and_probes_of_compose() -> None:
    section = (ROOT / "docs" / "DEPLOYMENT.md").read_text().partition("## Kubernetes\n")[2]
    base = services("base")
    for name in OURS.split():
        assert f"| `{shlex.join(base[name]['command'])}` |" in section
    assert base["fastapi"]["stop_grace_period"] == "50s"
    assert base["rqworker"]["stop_grace_period"] == "5m30s"
    assert "| 50, plus" in section
    assert "| 330, the" in section
    _, probe = base["rqworker"]["healthcheck"]["test"]
    assert probe.replace("$$", "$") in section
    heartbeat = base["rqworker"]["environment"]["RQ_WORKER_HEARTBEAT_FILE"]
    assert f"RQ_WORKER_HEARTBEAT_FILE={heartbeat}" in section


def test_swarm_accepts_what_make_deploy_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "\n  config " not in run_docker("stack", "--help").stdout:
        pytest.skip("this docker command is too old to check the files for Swarm")
    monkeypatch.setattr(project, "SECRETS", tmp_path)
    secret_files.create_missing(tmp_path)
    sent = for_swarm(render("production"), "sales-dashboard:0123", {"fastapi": {"a": "b"}})
    result = run_docker("stack", "config", "-c", "-", stdin=json.dumps(sent))
    assert result.returncode == 0, result.stderr
    accepted = yaml.safe_load(result.stdout)
    assert accepted["services"].keys() == {*CLOSED.split()}
    assert not accepted["services"].pop("edge").get("secrets")
    for name, service in accepted["services"].items():
        own = "postgres" if name == "backup" else name
        needed = [*secret_files.NAMES] if name in OURS else [f"{own}_password"]
        if name in ("rqworker", "migrate"):
            needed.remove(secret_files.API_KEYS)
        assert {secret["source"] for secret in service["secrets"]} == {*needed}, name
        assert name in OURS or len(service["secrets"]) == 1, name
        assert (service["image"] == "sales-dashboard:0123") == (name in OURS), name
    assert not [volume for volume in accepted["volumes"] if "secrets" in volume]
