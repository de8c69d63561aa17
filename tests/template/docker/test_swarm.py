"""`make deploy` on a real swarm of one node: one stack, on which the tests build in this order.

Without IPVS in the kernel no virtual address works, so the load comes from a container in the stack's network
and goes where DNS says, `tasks.fastapi`, instead of through the published port.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from src.reload.fingerprint import fingerprint
from tests.conftest import wait_until
from tests.template import docs
from tests.template.docker.engine import check_closed, docker
from tests.template.running import Running, edit

OVERRIDE = """
services:
  fastapi: &quick
    healthcheck: {interval: 2s, start_period: 15s, retries: 2}
  rqworker: *quick
networks:
  default: {attachable: true}
"""
TICKS = """
from rq import get_current_job

from src.kit.queue.every import every
from src.kit.redis import get_redis


@every(seconds=1)
def tick() -> None:
    get_redis().rpush("ticks", get_current_job().id.rpartition("-")[2])
"""


@pytest.fixture(scope="module")
def swarm(image: str) -> Iterator[None]:
    """A swarm of one node, left as it was found."""
    if docker("info", "--format", "{{.Swarm.LocalNodeState}}") != "active":
        docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        yield
        docker("swarm", "leave", "--force")
        return
    nodes = docker("node", "ls", "--quiet").split()
    if len(nodes) != 1:
        pytest.skip("this engine belongs to a swarm of several nodes")
    labelled = docker("node", "ls", "--quiet", "--filter", "node.label=data=true")
    yield
    if not labelled:
        docker("node", "update", "--label-rm", "data", nodes[0])


@pytest.fixture(scope="module")
def stack(swarm: None, clone: Running) -> Iterator[Running]:
    """The stack on the swarm, with two containers of the API."""
    (clone.folder / "docker-compose.override.yml").write_text(OVERRIDE)
    feature = clone.folder / "src" / "ticks"
    feature.mkdir()
    (feature / "__init__.py").touch()
    (feature / "jobs.py").write_text(TICKS)
    clone.environment |= {"API_REPLICAS": "2", "CPU_LIMIT": "1.5"}
    clone.make("deploy")
    yield clone
    docker("stack", "rm", clone.project)
    label = f"label=com.docker.stack.namespace={clone.project}"
    wait_until(lambda: not docker("ps", "--all", "--quiet", "--filter", label), 120, "the end of the stack")
    docker("volume", "rm", *docker("volume", "ls", "--quiet", "--filter", label).split())
    versions = docker("image", "ls", "--quiet", clone.environment["APP_IMAGE"])
    docker("image", "rm", "--force", *versions.split(), may_fail=True)


def containers(running: Running, service: str) -> list[str]:
    """The ids of a service's running containers."""
    label = f"label=com.docker.swarm.service.name={running.project}_{service}"
    return docker("ps", "--quiet", "--filter", label).split()


def inside(container: str, program: str) -> Any:
    """What a program prints in a container, as JSON; None where it fails."""
    return json.loads(docker("exec", container, "python", "-c", program, may_fail=True) or "null")


def codes(running: Running) -> set[str]:
    """The fingerprints of all that runs, as every container of the API sees it."""
    program = (
        "from urllib.request import *; key = open('/run/secrets/api_keys').read().split()[0];"
        "print(urlopen(Request('http://localhost:8000/version', headers={'X-API-Key': key})).read().decode())"
    )
    found = [inside(container, program) for container in containers(running, "fastapi")]
    if not all(found):
        return set()
    return {each["code"] for each in found} | {worker["code"] for each in found for worker in each["workers"]}


def replicas(running: Running) -> dict[str, str]:
    listing = docker("stack", "services", "--format", "{{.Name}} {{.Replicas}}", running.project)
    return dict(line.removeprefix(f"{running.project}_").split(" ", 1) for line in listing.splitlines())


def wait_for_code(running: Running, code: str) -> None:
    wait_until(lambda: codes(running) == {code}, 120, f"everything to run {code}")


def code_of(running: Running) -> str:
    return fingerprint(running.folder / "src")


@contextmanager
def load(running: Running) -> Iterator[None]:
    """Ask without a pause; at the end, no request may have failed."""
    program = (Path(__file__).parent / "load.py").read_text()
    command = ["docker", "run", "--rm", "--interactive", "--network", f"{running.project}_default"]
    version = docker("inspect", "--format", "{{.Image}}", containers(running, "fastapi")[0])
    client = subprocess.Popen(
        [*command, version, "python", "-c", program, "tasks.fastapi"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield
        output, _ = client.communicate("", timeout=60)
    finally:
        client.kill()
    result = json.loads(output)
    print(result)  # noqa: T201
    assert result["failures"] == []
    assert min(result["count"]["kept"], result["count"]["fresh"]) > 100


def test_every_service_runs_and_the_migration_has_ended(stack: Running) -> None:
    lasting = {
        "fastapi": "2/2",
        "rqworker": "3/3",
        "redis": "1/1",
        "postgres": "1/1",
        "backup": "0/0",
        "edge": "1/1",
    }
    assert replicas(stack) == lasting | {"migrate": "0/1 (1/1 completed)"}
    wait_for_code(stack, code_of(stack))


def test_the_containers_are_as_closed_as_on_one_machine(stack: Running) -> None:
    secrets = [path.read_text("ascii").strip() for path in (stack.folder / "secrets").glob("[a-z]*")]
    for service in ("fastapi", "rqworker", "redis", "postgres"):
        for container in containers(stack, service):
            check_closed(container, secrets)


def test_gunicorn_follows_the_cpu_share_of_the_container(stack: Running) -> None:
    program = "import runpy; c = runpy.run_path('gunicorn.conf.py'); print([c['cores'](), c['workers']])"
    for container in containers(stack, "fastapi"):
        assert inside(container, program) == [1.5, 4]


def test_the_stack_of_one_machine_does_not_start_beside_it(stack: Running) -> None:
    assert f"docker stack rm {stack.project}" in stack.make_refused("prod")


def test_an_update_under_load_fails_no_request(stack: Running) -> None:
    before = set(containers(stack, "fastapi"))
    edit(stack.folder / "src" / "kit" / "log.py", "\n# newer\n")
    with load(stack):
        stack.make("deploy")
        wait_for_code(stack, code_of(stack))
        wait_until(lambda: not before & set(containers(stack, "fastapi")), 60, "the end of the old ones")


@pytest.mark.parametrize(
    ("file", "mistake"),
    [
        ("readiness.py", "\ndef readiness_problems() -> list[str]:\n    return ['never ready']\n"),
        ("queue/enqueue.py", "\nraise RuntimeError('does not start')\n"),
    ],
    ids=["never healthy", "does not start"],
)
def test_a_broken_version_goes_back_by_itself_and_fails_no_request(
    stack: Running, file: str, mistake: str
) -> None:
    code = code_of(stack)
    before = edit(stack.folder / "src" / "kit" / file, mistake)
    try:
        with load(stack):
            output = stack.make_refused("deploy")
        assert "did not become healthy" in output
        assert "What ran before keeps running." in output
        wait_for_code(stack, code)
    finally:
        (stack.folder / "src" / "kit" / file).write_text(before, "utf-8")


def test_workers_can_be_scaled(stack: Running) -> None:
    (command,) = [block for block in docs.commands("docs/DEPLOYMENT.md") if "WORKER_REPLICAS" in block]
    docs.run(command, stack)
    assert replicas(stack)["rqworker"] == "5/5"
    wait_for_code(stack, code_of(stack))


def test_make_rollback_brings_back_the_version_before_in_every_service(stack: Running) -> None:
    newer = code_of(stack)
    path = stack.folder / "src" / "kit" / "log.py"
    path.write_text(path.read_text("utf-8").removesuffix("\n# newer\n"), "utf-8")
    with load(stack):
        stack.make("rollback")
        wait_for_code(stack, code_of(stack))
    assert replicas(stack)["rqworker"] == "5/5", "scaled as it was"
    stack.make("rollback")
    wait_for_code(stack, newer)


def test_a_schedule_ran_once_a_second_through_all_of_this(stack: Running) -> None:
    program = "from src.kit.redis import *; print([int(tick) for tick in get_redis().lrange('ticks', 0, -1)])"
    ticks = sorted(inside(containers(stack, "fastapi")[0], program))
    assert len(ticks) > 60
    assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), "none is missing, none ran twice"


def test_a_backup_is_restored_while_nothing_writes(stack: Running) -> None:
    before = replicas(stack)
    stack.make("backup")
    (dump,) = (stack.folder / "backups").iterdir()
    stack.make("restore", FILE=f"backups/{dump.name}")
    assert replicas(stack) == before
