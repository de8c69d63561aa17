"""What a setting changes in the compose files of production."""

import json
import os

from tests.kit.compose_files import BASE, PROD, PROJECT, TLS, render, run_docker

SERVICES = ("fastapi", "rqworker", "migrate", "redis", "postgres")


def test_with_tls_the_edge_has_the_ports_of_the_web_and_http_is_for_this_machine_only() -> None:
    nothing = ("--env-file", os.devnull, "--project-name", PROJECT)
    files = [part for path in (BASE, PROD, TLS) for part in ("-f", str(path))]
    config = run_docker("compose", *nothing, *files, "config", "--format", "json", API_BIND="192.0.2.1")
    ports = json.loads(config.stdout)["services"]["edge"]["ports"]
    found = [(port["host_ip"], port["published"], port["target"], port["protocol"]) for port in ports]
    web = [("192.0.2.1", str(port), port, kind) for port, kind in ((80, "tcp"), (443, "tcp"), (443, "udp"))]
    assert sorted(found) == sorted([("127.0.0.1", "8000", 8000, "tcp"), *web])


def test_more_cores_are_for_the_api_and_the_database() -> None:
    rendered = render("production", CPU_LIMIT="6")["services"]
    cores = {
        name: rendered[name]["deploy"]["resources"]["limits"]["cpus"]
        for name in ("fastapi", "rqworker", "migrate", "redis", "postgres")
    }
    assert {name for name, limit in cores.items() if limit == 6} == {"fastapi", "postgres"}


def test_redis_can_have_more_memory() -> None:
    for variables, expected in (({}, "512"), ({"REDIS_MEMORY": "3g"}, "3072")):
        limits = render("production", **variables)["services"]["redis"]["deploy"]["resources"]["limits"]
        assert limits["memory"] == str(int(expected) * 2**20)


def test_backups_run_if_their_time_is_set() -> None:
    service = render("production", BACKUP_EVERY="24h", BACKUP_KEEP="30")["services"]["backup"]
    assert service["deploy"]["replicas"] == 1
    assert (service["environment"]["BACKUP_EVERY"], service["environment"]["BACKUP_KEEP"]) == ("24h", "30")
