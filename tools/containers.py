"""The containers of the API and the workers on Compose, and the edge in front of them."""

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tools import docker, project, retire, secret_files
from tools.console import say

API, WORKER = OURS = ("fastapi", "rqworker")
"""The services that are replaced by a newer version, or an earlier one; `migrate` only goes forward."""

VERSION, DIGEST = "release.version", "release.digest"
"""Labels: the number of the version, and what it was made from."""

_LIVE = "/var/tmp/live"  # noqa: S108  in a volume of the edge
_STARTING, _WORKING = 256, 1024
"""Shares of the CPU: those that serve come before those that start. The second is Docker's default."""

_RESTARTS = 3
"""A container that has ended so many times will not recover by itself."""


class Container(NamedTuple):
    """A container, as the engine has shown it."""

    id: str
    name: str
    service: str
    version: int
    digest: str
    image: str
    state: Mapping[str, Any]
    restarts: int
    publishes: bool
    restart_policy: str

    def say_version(self) -> str:
        """The version as a person reads it."""
        return say_version(self.version, self.image)

    @property
    def is_retired(self) -> bool:
        """Whether it has been told to stop and may finish what it does."""
        return bool(self.version) and self.restart_policy == "no"

    @property
    def health(self) -> str:
        return str(self.state.get("Health", {}).get("Status", "healthy"))

    @property
    def is_healthy(self) -> bool:
        return bool(self.state["Running"]) and self.health == "healthy"

    @property
    def problem(self) -> str:
        """Why it will not become healthy, or is no longer; empty if nothing is known."""
        if self.state["Status"] in ("exited", "dead") or self.restarts >= _RESTARTS:
            return f"ended, exit code {self.state['ExitCode']}"
        return "unhealthy" if self.health == "unhealthy" else ""


def inspect(ids: Iterable[str]) -> list[Container]:
    """What the engine knows about containers; those that are gone are left out."""
    if not (names := [*ids]):
        return []
    return [_container(each) for each in json.loads(docker.ask("inspect", *names).stdout or "[]")]


def _container(found: Mapping[str, Any]) -> Container:
    labels, host = found["Config"]["Labels"], found["HostConfig"]
    policy, tries = host["RestartPolicy"]["Name"], host["RestartPolicy"]["MaximumRetryCount"]
    return Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        service=labels["com.docker.compose.service"],
        version=int(labels.get(VERSION, 0)),
        digest=labels.get(DIGEST, ""),
        image=found["Image"],
        state=found["State"],
        restarts=found["RestartCount"],
        publishes=bool(host["PortBindings"]),
        restart_policy=f"{policy}:{tries}" if tries else policy,
    )


def existing(compose: docker.Compose, *services: str) -> list[Container]:
    """The containers of services, in whatever state."""
    return inspect(compose.read("ps", "--all", "--quiet", *services).split())


def live(found: Sequence[Container], name: str) -> dict[str, list[Container]]:
    """Those of them that serve, by service.

    Args:
        found: all containers.
        name: where the edge sends requests.
    """
    running = [each for each in found if each.state["Running"] and not each.is_retired]
    api = [each for each in running if each.service == API]
    named = [each for each in api if name in (alias(each.version), each.name)]
    api = named or _newest([each for each in api if each.is_healthy]) or _newest(api)
    # Those of an earlier version, if only the API was replaced since; newer ones were left behind.
    workers = [each for each in running if each.service == WORKER]
    return {
        API: api,
        WORKER: _newest([each for each in workers if not api or each.version <= api[0].version]),
    }


def _newest(found: Sequence[Container]) -> list[Container]:
    version = max((each.version for each in found), default=0)
    return [each for each in found if each.version == version]


def remove_leftovers(stack: str, left: Sequence[Container]) -> None:
    """Remove what a deployment that was cut off has left; what still finishes a job may go on."""
    if ended := [each.id for each in left if not each.state["Running"]]:
        docker.listing("rm", "--force", *ended)
    if running := [each.id for each in left if each.state["Running"] and not each.is_retired]:
        say(f"Removing what an earlier deployment has left: {len(running)} containers.")
        retire.in_background(stack, running)


def say_version(number: int, image: str) -> str:
    """A version as a person reads it."""
    return f"v{number} ({image.removeprefix('sha256:')[:6]})"


def name_of(api: Sequence[Container]) -> str:
    """A name in the network that only these containers have, or one of them if Compose has started them."""
    return alias(api[0].version) if api[0].version else api[0].name


def alias(version: int) -> str:
    """The name that all containers of a version of the API have in the network."""
    return f"{API}-v{version}"


def override(services: Mapping[str, Mapping[str, Any]], version: int, image: str) -> dict[str, Any]:
    """What the new containers of these services have beside their settings."""
    found: dict[str, Any] = {
        name: {
            "labels": {VERSION: str(version), DIGEST: digest(config, image)},
            "cpu_shares": _STARTING,
        }
        for name, config in services.items()
    }
    if API in found:
        found[API]["networks"] = {"default": {"aliases": [alias(version)]}}
    return found


def raise_priority(started: Iterable[Container]) -> None:
    """Give containers that have started the same share of the CPU as all others."""
    for each in started:  # without its policy, Podman would not restart it any more
        docker.listing("update", "--restart", each.restart_policy, "--cpu-shares", str(_WORKING), each.id)


def digest(config: Mapping[str, Any], image: str) -> str:
    """What the containers of a service are made from: its settings, the id of the image and the secrets."""
    secrets = secret_files.digest(project.SECRETS, docker.secrets_of(config))
    text = json.dumps([config, image, secrets], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def say_busy(old: Sequence[Container]) -> str:
    """How many of these workers, which have been told to stop, still finish a job, for the end of a line."""
    busy = sum(each.state["Running"] and each.is_retired for each in inspect(each.id for each in old))
    return f", {busy} workers still finish {busy} jobs" if busy > 1 else ", 1 worker finishes its job" * busy


def last_lines(container: str) -> list[str]:
    """The last lines of a container's log, each once: it may have started again and again."""
    command = ["docker", "logs", "--tail", "15", container]
    log = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", check=False
    )
    return [*dict.fromkeys(log.stdout.splitlines())]


def previous(image: str) -> str:
    """The name of the image that ran before this one."""
    return f"{image}-previous" if ":" in image.rpartition("/")[2] else f"{image}:previous"


class Edge:
    """The proxy in front of the API."""

    def __init__(self, compose: docker.Compose) -> None:
        """Do nothing yet; it need not run."""
        self._compose = compose

    def live(self) -> str:
        """The name of the containers that get the requests; empty if the edge does not run."""
        return self._inside("cat", _LIVE)

    def send_to(self, name: str) -> None:
        """Send requests to the containers that have this name in the network."""
        self._inside("sh", "-c", f"echo {name} >{_LIVE}.new && mv {_LIVE}.new {_LIVE}")

    def errors(self) -> int:
        """How many answers with 5xx it has passed on or given since its start."""
        metrics = self._inside("wget", "-q", "-O", "-", "http://127.0.0.1:2019/metrics")
        counted = re.findall(r'(?m)^caddy_http_request_duration_seconds_count\{code="5.*\} (\S+)$', metrics)
        return sum(int(float(number)) for number in counted)

    def _inside(self, *command: str) -> str:
        return self._compose.read("exec", "-T", "edge", *command, stderr=subprocess.DEVNULL)
