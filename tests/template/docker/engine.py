"""What the engine knows about containers, and what can be done to them."""

import json
import os
import subprocess
from typing import Any

from tests.conftest import wait_until
from tests.template.running import Running

COUNTS = {"fastapi": 1, "rqworker": 3, "redis": 1, "postgres": 1}
"""The containers of production."""


def docker(*arguments: str, may_fail: bool = False) -> str:
    """The output of a docker command; it has to succeed, unless it may fail."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert may_fail or done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def kill_group(pid: int, signal: int) -> None:
    """Send a signal to the processes of a command that runs in a session of its own."""
    os.killpg(pid, signal)


def children(container: dict[str, Any], parent: int = 0) -> list[int]:
    """The children of a process of a container, by default of its first one, with the ids of the host."""
    lines = docker("top", container["Id"], "-eo", "pid,ppid").splitlines()[1:]
    found = [(int(pid), int(its_parent)) for pid, its_parent in map(str.split, lines)]
    return [pid for pid, its_parent in found if its_parent == (parent or container["State"]["Pid"])]


def send(running: Running, signal: int, *pids: int) -> None:
    """Send a signal from the host: the first process of a container ignores SIGKILL from inside.

    A process that has ended meanwhile is passed over.
    """
    program = f"import os\nfor pid in {list(pids)}:\n    try: os.kill(pid, {int(signal)})\n"
    program += "    except ProcessLookupError: pass\n"
    options = ["--rm", "--pid", "host", "--privileged", "--user", "0", "--network", "none"]
    docker("run", *options, running.environment["APP_IMAGE"], "python", "-c", program)


def on_all(running: Running, service: str, *command: str) -> None:
    """Run a docker command on all containers of a service."""
    docker(*command, *(container["Id"] for container in running.containers(service)))


def ids(running: Running) -> dict[str, set[str]]:
    """The containers of each service."""
    return {name: {container["Id"] for container in running.containers(name)} for name in COUNTS}


def started_at(running: Running, service: str) -> dict[str, str]:
    """When each container of a service was started, by id."""
    return {container["Id"]: container["State"]["StartedAt"] for container in running.containers(service)}


def wait_until_well(running: Running) -> None:
    """Wait until every container of production runs and is healthy, and the API is ready."""

    def are_well() -> bool:
        for service, count in COUNTS.items():
            states = [container["State"] for container in running.containers(service)]
            if len(states) != count or any(s["Health"]["Status"] != "healthy" for s in states):
                return False
        return running.get("/health/ready") is not None

    wait_until(are_well, 120, "a stack that is well")


def sql(running: Running, statement: str) -> str:
    """Run a statement in the stack's database."""
    return running.inside("postgres", "psql", "-U", "app", "-d", "app", "-Atc", statement).strip()


def check_closed(container: str, secrets: list[str]) -> dict[str, list[str]]:
    """A container is closed: nothing to write to, no capability, limits, and no secret that can be seen.

    Returns:
        The kernel's status of its first process.
    """
    inspected = docker("inspect", container)
    assert not [secret for secret in secrets if secret in inspected]
    found = json.loads(inspected)[0]
    host, name = found["HostConfig"], found["Name"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["Init"]) == (True, ["ALL"], True), name
    assert min(host["Memory"], host["NanoCpus"], host["PidsLimit"]) > 0, name
    status = docker("exec", container, "cat", "/proc/1/status").splitlines()
    fields = {key: value.split() for key, _, value in (line.partition(":") for line in status)}
    assert "0" not in fields["Uid"], name
    assert {int(fields[key][0], 16) for key in ("CapEff", "CapPrm", "CapBnd")} == {0}, name
    return fields
