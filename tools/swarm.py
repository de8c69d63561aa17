"""The stack on Docker Swarm: the files of `make prod`, sent to it by `docker stack deploy`."""

import json
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tools import docker, ports, project
from tools.console import ToolError, say
from tools.containers import OURS
from tools.docker import Compose
from tools.probe import proven
from tools.swarm_file import for_swarm

_PREVIOUS = "previous-image"
_PATIENCE = 300
"""Seconds that a deployment may take until we stop waiting; Swarm itself continues."""


def deploy() -> int:
    """Build the code as an image of its own, send the stack to the swarm, and wait until it is healthy.

    Raises:
        ToolError: something is missing, or the new version did not become healthy and the old one is back.
    """
    _require_manager()
    compose = Compose("prod")
    config = compose.config()
    image = config["services"]["fastapi"]["image"]
    if compose.read("ps", "--quiet"):
        raise ToolError(
            "The stack of `make prod` runs here, on the same volumes: stop it with `make down` first. "
            "Its data stays, and the swarm uses it on this machine."
        )
    nodes = _docker("node", "ls", "--quiet").split()
    if len(nodes) > 1 and "/" not in image:
        raise ToolError(
            f"APP_IMAGE={image} is on this machine only, and the swarm has {len(nodes)} nodes: give the "
            "image a name in a registry that all of them reach, such as registry.example.com/team/app."
        )
    deployed = [service.get("deploy", {}) for service in config["services"].values()]
    if any("placement" in each and each.get("replicas") != 0 for each in deployed):
        _require_data_node(nodes)
    version = _build(compose, image)
    before = _running(config["name"])
    say(
        f"Sending {version}: each container is replaced when the next one is healthy; "
        f"`docker stack services {config['name']}` shows it."
    )
    with proven(
        version, ports.api_port(compose.environment) if before else None, partial(_go_back, config["name"])
    ):
        _send(compose, config, version, before)
        _require_version(config["name"], version, before)
    return 0


def rollback() -> int:
    """Bring back the image that ran before the last deploy, in all of our services; a second time, the newer.

    Raises:
        ToolError: there is none, or it did not become healthy and the newer one keeps running.
    """
    _require_manager()
    stack = Compose("prod").config()["name"]
    before = _running(stack)
    if not before:
        raise ToolError(f"No stack {stack} runs on this swarm: `make deploy` starts it.")
    current, version = _image(before["fastapi"]), before["fastapi"]["Spec"]["Labels"].get(_PREVIOUS)
    if not version:
        raise ToolError(
            f"{current} is the first version here: check out the one that you want and `make deploy`."
        )
    say(f"Going back to {version}. The database and the settings stay as they are.")
    options = ["--quiet", "--with-registry-auth", "--image", version, "--label-add", f"{_PREVIOUS}={current}"]
    with proven(version, ports.api_port(project.environment()), partial(_go_back, stack)):
        for service in OURS:
            _wait_for(stack, ["docker", "service", "update", *options, f"{stack}_{service}"])
        _require_version(stack, version, before)
    return 0


def replicas(stack: str) -> dict[str, int]:
    """How many containers each of our services should have; empty if the stack does not run on a swarm."""
    return {name: found["Spec"]["Mode"]["Replicated"]["Replicas"] for name, found in _running(stack).items()}


def scale(stack: str, wanted: Mapping[str, int]) -> None:
    """Set the number of containers of each service, and wait until they are healthy."""
    for name, count in wanted.items():
        _wait_for(stack, ["docker", "service", "scale", f"{stack}_{name}={count}"])


def stop(stack: str, names: Sequence[str]) -> None:
    """Stop all containers of these services, and wait until the last one and its job have ended."""
    _docker("service", "scale", "--detach", *(f"{stack}_{name}=0" for name in names))
    for name in names:
        listing = ("service", "ps", "--format", "{{.CurrentState}}", f"{stack}_{name}")
        while re.search("^(Running|Starting|Preparing)", _docker(*listing), re.MULTILINE):
            time.sleep(0.5)


def migrate(stack: str) -> None:
    """Run the migrations of the stack's image again, and wait for their end."""
    _wait_for(stack, ["docker", "service", "update", "--quiet", "--force", f"{stack}_migrate"])


def name_version(image: str, identity: str) -> str:
    """The name of an image with a tag made from its content instead of any other tag.

    Args:
        image: its name, maybe with a registry and a tag.
        identity: the engine's id for it, the digest of its content.
    """
    folder, slash, name = image.rpartition("/")
    return f"{folder}{slash}{name.partition(':')[0]}:{identity.removeprefix('sha256:')[:12]}"


def _require_manager() -> None:
    swarm = json.loads(_docker("info", "--format", "{{json .Swarm}}"))
    if swarm["LocalNodeState"] != "active":
        raise ToolError(
            "This Docker engine is not in a swarm: `docker swarm init` creates one with a single node."
        )
    if not swarm["ControlAvailable"]:
        raise ToolError("This node is not a manager of its swarm: run this on a manager.")


def _require_data_node(nodes: Sequence[str]) -> None:
    """Require exactly one node for the volumes: on another one, the database would start empty."""
    chosen = _docker("node", "ls", "--quiet", "--filter", "node.label=data=true").split()
    if not chosen and len(nodes) == 1:
        _docker("node", "update", "--label-add", "data=true", nodes[0])
        say("Labelled this node with data=true: the database and the queue stay on it, with their volumes.")
    elif len(chosen) != 1:
        raise ToolError(
            f"{len(chosen)} nodes have the label data=true, and exactly one must: the database and the queue "
            "stay there, with their volumes. `docker node update --label-add data=true NODE` chooses it."
        )


def _build(compose: Compose, image: str) -> str:
    """Build the image, tag it by its content, so that different code is a different version, and push it."""
    if compose.run("build", "--quiet", "fastapi"):
        raise ToolError("The image was not built; the lines above say why. What runs stays as it is.")
    version = name_version(image, _docker("image", "inspect", "--format", "{{.Id}}", image))
    _docker("tag", image, version)
    if "/" in version:
        say(f"Pushing {version}.")
        _docker("push", "--quiet", version)
    return version


def _send(compose: Compose, config: dict[str, Any], version: str, before: Mapping[str, Any]) -> None:
    """Send the stack; return when Swarm has replaced what has changed, or has rolled back."""
    stack = config["name"]
    labels = {}
    if before:
        fastapi = before["fastapi"]
        same = _image(fastapi) == version
        previous = fastapi["Spec"]["Labels"].get(_PREVIOUS, "") if same else _image(fastapi)
        labels = {name: {_PREVIOUS: previous} for name in OURS}
    options = ["--detach=false", "--quiet", "--prune", "--with-registry-auth"]
    if "/" not in version:
        options.append("--resolve-image=never")
    command = ["docker", "stack", "deploy", *options, "--compose-file", "-", stack]
    _wait_for(stack, command, compose.environment, json.dumps(for_swarm(config, version, labels)))


def _wait_for(
    stack: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> None:
    """Run a command that waits for Swarm.

    Its exit code does not say whether Swarm has rolled back; that is checked afterwards.
    """
    try:
        result = subprocess.run(
            command, env=environment, input=stdin, timeout=_PATIENCE,
            capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        _explain(stack, OURS)
        raise ToolError(
            f"The stack is not healthy after {_PATIENCE // 60} minutes. Swarm keeps trying: "
            f"`docker stack ps {stack}` shows what it does."
        ) from None
    if result.returncode and "rolled back" not in result.stderr and "paused" not in result.stderr:
        raise ToolError(f"The swarm did not accept it: {result.stderr.strip()}")


def _require_version(stack: str, version: str, before: Mapping[str, Any]) -> None:
    """Fail unless all our services run this version, after rolling back those that do."""
    after = _running(stack)
    broken = [
        service
        for service in OURS
        if _image(after[service]) != version
        or after[service].get("UpdateStatus", {}).get("State", "completed") != "completed"
    ]
    if not broken:
        return
    _explain(stack, broken)
    if before:
        _go_back(stack, [service for service in OURS if service not in broken])
    raise ToolError(f"{version} did not become healthy: {', '.join(broken)}. What ran before keeps running.")


def _go_back(stack: str, services: Sequence[str] = OURS) -> None:
    for service in services:
        _wait_for(stack, ["docker", "service", "rollback", "--quiet", f"{stack}_{service}"])


def _running(stack: str) -> dict[str, Any]:
    """What the swarm knows about our services by name; empty if the stack does not run."""
    names = [f"{stack}_{service}" for service in OURS]
    result = docker.ask("service", "inspect", *names)
    return dict(zip(OURS, json.loads(result.stdout), strict=True)) if result.returncode == 0 else {}


def _image(service: Mapping[str, Any]) -> str:
    image: str = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    return image.partition("@")[0]


def _explain(stack: str, names: Sequence[str]) -> None:
    """Show why the newest failed container failed, and its last log lines."""
    for name in names:
        listing = _docker("service", "ps", "--no-trunc", "--format", "{{.ID}} {{.Error}}", f"{stack}_{name}")
        failed = [line for line in listing.splitlines() if " " in line.strip()]
        if failed:
            task, _, error = failed[0].partition(" ")
            say(f"{name}: {error}. Its last log lines:")
            subprocess.run(["docker", "service", "logs", "--raw", "--tail", "15", task], check=False)


def _docker(*arguments: str) -> str:
    result = docker.ask(*arguments)
    if result.returncode:
        raise ToolError(f"docker {' '.join(arguments)} failed: {result.stderr.strip()}")
    return result.stdout.strip()
