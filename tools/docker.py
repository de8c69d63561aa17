"""The stack on Docker Compose."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Set
from typing import Any

from tools import clones, ports, project, ready, secret_files
from tools.console import ToolError, say

# Your own changes to production, under Compose's name for such a file.
_OVERRIDE = project.ROOT / "docker-compose.override.yml"
_GUNICORN = {
    "services": {
        "fastapi": {
            "entrypoint": [],
            "command": ["gunicorn", "-c", "gunicorn.dev.conf.py"],
            "volumes": ["./gunicorn.dev.conf.py:/app/gunicorn.dev.conf.py"],
        }
    }
}

APART: dict[str, Any] = {"start_new_session": True}
if sys.platform == "win32":
    APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


class Compose:
    """`docker compose` for a form of the stack, `dev` or `prod`; both for commands on whatever exists."""

    def __init__(self, *forms: str) -> None:
        """Take the files of the forms, and the environment that they need."""
        names = ["docker-compose.yml", *(f"docker-compose.{form}.yml" for form in forms)]
        self.environment = project.environment()
        if "prod" in forms and (site := self.environment.get("SITE")):
            if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", site, re.IGNORECASE):
                raise ToolError(
                    f"SITE={site} is not the name of a host: SITE=shop.example.com, for instance."
                )
            names.append("docker-compose.tls.yml")
        if "prod" in forms and _OVERRIDE.is_file():
            names.append(_OVERRIDE.name)
        self.files = names
        self._command = ["docker", "compose", *(part for name in names for part in ("-f", name))]
        if sys.platform != "win32":
            self.environment |= {"HOST_UID": str(os.getuid()), "HOST_GID": str(os.getgid())}
        ports.api_port(self.environment)  # Compose would complain about a `hostPort`
        name = self.config()["name"]
        self.environment["COMPOSE_PROJECT_NAME"] = clones.own_project(name) or name
        # The engine's cores, which need not be those of this machine.
        if not self.environment.get("CPU_LIMIT"):
            self.environment["CPU_LIMIT"] = "".join(listing("info", "--format", "{{.NCPU}}"))

    def run(self, *arguments: str) -> int:
        """Run a command on this terminal and return its exit code."""
        return subprocess.run([*self._command, *arguments], env=self.environment, check=False).returncode

    def read(self, *arguments: str, stdin: str | None = None, stderr: int | None = None) -> str:
        """The output of a command, empty if it failed; its input and errors are the terminal's by default."""
        result = subprocess.run(
            [*self._command, *arguments],
            env=self.environment, input=stdin, stdout=subprocess.PIPE, stderr=stderr,
            encoding="utf-8", check=False,
        )  # fmt: skip
        return result.stdout.strip() if result.returncode == 0 else ""

    def start(self, *arguments: str, override: Mapping[str, Any] | None = None) -> "subprocess.Popen[str]":
        """Start a command, with one more compose file, where Ctrl-C does not reach it."""
        command = [*self._command, *(["-f", "-"] if override else []), *arguments]
        process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.PIPE, encoding="utf-8", **APART
        )
        assert process.stdin  # noqa: S101
        with process.stdin:
            process.stdin.write(json.dumps(override) if override else "")
        return process

    def config(self) -> dict[str, Any]:
        """The files as Compose understands them; it raises ToolError if it does not."""
        config: dict[str, Any] | None = json.loads(self.read("config", "--format", "json") or "null")
        if config is None:
            raise ToolError("The compose files or .env contain a mistake; the lines above say which.")
        return config

    def running(self) -> str:
        """The ENVIRONMENT of the stack that runs, empty if none does."""
        if not self.read("ps", "--quiet", "--status", "running", "fastapi"):
            return ""
        return self.read("exec", "-T", "fastapi", "printenv", "ENVIRONMENT")


def dev(environment: Mapping[str, str]) -> int:
    """Run the development stack in the foreground; on a signal, stop it and remove its containers."""
    compose = Compose("dev", *(["debug"] if environment.get("DEBUGPY_SERVER") else []))
    port = prepare(compose, environment, "dev")
    received: list[int] = []
    for name in {"SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"} & {*dir(signal)}:
        signal.signal(getattr(signal, name), lambda number, _frame: received.append(number))
    override = _GUNICORN if environment.get("SERVER") == "gunicorn" else None
    up = compose.start("up", "--build", "--watch", "--remove-orphans", override=override)
    done = threading.Event()
    threading.Thread(target=ready.announce, args=(port, done.is_set), daemon=True).start()
    while not received:
        try:
            code = up.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            pass
    done.set()
    if received:
        say("Stopping: the worker may finish its job.")
        code = 0
    # Stops the containers in order, and `up` with them.
    compose.run("down", "--remove-orphans")
    up.wait()
    return code


def prepare(compose: Compose, environment: Mapping[str, str], target: str) -> int:
    """Make sure that nothing is in the way of a stack; return its port.

    Raises:
        ToolError: something is.
    """
    port = ports.api_port(environment)
    stack = compose.environment["COMPOSE_PROJECT_NAME"]
    if is_deployed(stack):
        raise ToolError(
            f"The stack of `make deploy` runs here, on the same volumes: `docker stack rm {stack}` "
            "stops it first, and its data stays."
        )
    running = compose.running()
    if running == "development":
        raise ToolError("The development stack already runs here: stop it with Ctrl-C or `make down`.")
    if running and target == "dev":
        say("The production stack runs here: stopping it first. Its data stays.")
        compose.run("down", "--remove-orphans")
        running = ""
    # A container that restarts has the port.
    with_port = ("fastapi", "edge") if target == "prod" else ("fastapi",)
    if not running and not compose.read("ps", "--quiet", *with_port):
        port = clones.api_port(environment, target)
        compose.environment["API_PORT"] = str(port)
    return port


def is_deployed(stack: str) -> bool:
    """Whether `make deploy` runs this stack here."""
    return bool(listing("ps", "--quiet", "--filter", f"label=com.docker.stack.namespace={stack}"))


def start_again(compose: Compose) -> None:
    """Start what was stopped of the production stack, as it was, and wait until it is healthy."""
    if compose.run("up", "--detach", "--wait", "--no-build", "--no-recreate"):
        raise ToolError("The stack did not become healthy; the lines above say what.")


def ask(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of `docker`, and read what it prints."""
    return subprocess.run(["docker", *arguments], capture_output=True, encoding="utf-8", check=False)


def listing(*arguments: str) -> list[str]:
    """The words that a command of `docker` prints; none if it fails."""
    return ask(*arguments).stdout.split()


def image_id(name: str) -> str:
    """The id of an image; empty if there is none of this name."""
    return "".join(listing("image", "inspect", "--format", "{{.Id}}", name))


def secrets_of(service: Mapping[str, Any]) -> list[str]:
    """The names of the secrets that a service can read: all, those of workers, or its own password."""
    for mount in service.get("volumes", ()):
        if mount["target"] == "/run/secrets":
            owner = mount["source"].removeprefix("secrets-")
            if owner not in ("app", "worker"):
                return [f"{owner}_password"]
            names = secret_files.names(project.SECRETS)
            return [name for name in names if owner == "app" or name != secret_files.API_KEYS]
    return []


def secret_labels(services: Mapping[str, Any]) -> dict[str, Any]:
    """What has Compose replace the containers of a changed secret: it does not look into the files itself."""
    digests = {name: secret_files.digest(project.SECRETS, secrets_of(services[name])) for name in services}
    return {name: {"labels": {"secrets": digest}} for name, digest in digests.items()}


def start_others(compose: Compose, without: Set[str]) -> None:
    """Start all services but these, and replace those of them that have changed.

    Raises:
        ToolError: one of them does not start.
    """
    services = {name: each for name, each in compose.config()["services"].items() if name not in without}
    options = ("up", "--detach", "--no-build", "--remove-orphans", *sorted(services))
    if compose.start(*options, override={"services": secret_labels(services)}).wait():
        raise ToolError("Not everything could be started, the lines above say why.")


def prune_images(stack: str) -> None:
    """Remove the images of a Compose project that have no name and no container any more."""
    listing("image", "prune", "--force", "--filter", f"label=com.docker.compose.project={stack}")
