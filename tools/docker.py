"""The stack on Docker Compose."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
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

_RESTARTS = 3
"""A container that has ended so many times in a row will not recover by itself."""

_APART: dict[str, Any] = {"start_new_session": True}
if sys.platform == "win32":
    _APART = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


class Compose:
    """`docker compose` for a form of the stack, `dev` or `prod`; both for commands on whatever exists."""

    def __init__(self, *forms: str) -> None:
        """Take the files of the forms, and the environment that they need."""
        names = ["docker-compose.yml", *(f"docker-compose.{form}.yml" for form in forms)]
        if "prod" in forms and _OVERRIDE.is_file():
            names.append(_OVERRIDE.name)
        self.files = names
        self._command = ["docker", "compose", *(part for name in names for part in ("-f", name))]
        self.environment = project.environment()
        if sys.platform != "win32":
            self.environment |= {"HOST_UID": str(os.getuid()), "HOST_GID": str(os.getgid())}
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
            command, env=self.environment, stdin=subprocess.PIPE, encoding="utf-8", **_APART
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
    port = _prepare(compose, environment, "dev")
    received: list[int] = []
    for name in {"SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"} & {*dir(signal)}:
        signal.signal(getattr(signal, name), lambda number, _frame: received.append(number))
    override = _GUNICORN if environment.get("SERVER") == "gunicorn" else None
    renew_password(compose)
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


def prod(environment: Mapping[str, str]) -> int:
    """Start the production stack in the background and wait until it is healthy."""
    compose = Compose("prod")
    port = _prepare(compose, environment, "prod")
    renew_password(compose)
    if compose.run("build"):
        raise ToolError("The image could not be built, the lines above say why. Nothing was replaced.")
    # Before anything is replaced: would the new image start with these settings?
    compose.read("run", "--rm", "--no-TTY", "secrets")
    if compose.run("run", "--rm", "--no-deps", "--no-TTY", "rqworker", "python", "-m", "src.kit.production"):
        raise ToolError("Fix that and run `make prod` again. Nothing was replaced.")
    override = _production_override(compose)
    up = compose.start("up", "--detach", "--wait", "--remove-orphans", override=override)
    if _wait(compose, up):
        _explain_failure(compose)
    say(ready.urls(port))
    say("`make -s api-key` prints its API key, `make logs` shows its log, `make down` stops it.")
    return 0


def _prepare(compose: Compose, environment: Mapping[str, str], target: str) -> int:
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
    if not running and not compose.read("ps", "--quiet", "fastapi"):  # a container that restarts has the port
        port = clones.api_port(environment, target)
        compose.environment["API_PORT"] = str(port)
    return port


def is_deployed(stack: str) -> bool:
    """Whether `make deploy` runs this stack here."""
    return bool(listing("ps", "--quiet", "--filter", f"label=com.docker.stack.namespace={stack}"))


def start_again(compose: Compose) -> None:
    """Start what was stopped of the production stack, as it was, and wait until it is healthy."""
    options = ("--detach", "--wait", "--no-build", "--no-recreate")
    if _wait(compose, compose.start("up", *options, override=_production_override(compose))):
        _explain_failure(compose)


def listing(*arguments: str) -> list[str]:
    """The words that a command of `docker` prints; none if it fails."""
    return subprocess.run(
        ["docker", *arguments], capture_output=True, encoding="utf-8", check=False
    ).stdout.split()


def secrets_of(service: Mapping[str, Any]) -> list[str]:
    """The names of the secrets that a service can read: all of them, or its own password."""
    for mount in service.get("volumes", ()):
        if mount["target"] == "/run/secrets":
            owner = mount["source"].removeprefix("secrets-")
            return secret_files.names(project.SECRETS) if owner == "app" else [f"{owner}_password"]
    return []


def _production_override(compose: Compose) -> dict[str, Any]:
    """What `up` needs beside the files, because it replaces containers."""
    services = compose.config()["services"]
    # Compose does not look into the secrets: with this, the containers of a changed one are replaced.
    digests = {name: secret_files.digest(project.SECRETS, secrets_of(services[name])) for name in services}
    override: dict[str, Any] = {name: {"labels": {"secrets": digest}} for name, digest in digests.items()}
    # If the migration fails, the old API goes on.
    override["fastapi"]["depends_on"] = {"migrate": {"condition": "service_completed_successfully"}}
    return {"services": override}


def renew_password(compose: Compose) -> None:
    """Give the database its password where the file is new: the volume outlives the old one."""
    if not project.NEW_PASSWORD.exists():
        return
    volume = compose.config()["volumes"]["postgres"]["name"]
    if listing("volume", "inspect", "--format", "{{.Name}}", volume):
        say("The database of an earlier secrets/ is still there: giving it the new password.")
        if compose.run("up", "--detach", "--wait", "--quiet-pull", "postgres"):
            raise ToolError("The database did not start; the lines above say why.")
        password = (project.SECRETS / secret_files.POSTGRES).read_text("ascii").rstrip("\n")
        # Postgres logs statements that fail, this one must not be.
        statement = f"SET log_min_error_statement = panic;\nALTER ROLE app PASSWORD '{password}';\n"
        psql = ("exec", "-T", "postgres", "psql", "-U", "app", "-d", "app", "-v", "ON_ERROR_STOP=1")
        if not compose.read(*psql, stdin=statement):
            raise ToolError("The database did not accept the new password; the lines above say why.")
    project.NEW_PASSWORD.unlink()


def _wait(compose: Compose, up: "subprocess.Popen[str]") -> int:
    """Wait for `up --wait`, which by itself would wait forever for a container that keeps ending."""
    while True:
        try:
            return up.wait(timeout=2)
        except subprocess.TimeoutExpired:
            restarting = compose.read("ps", "--all", "--quiet", "--status", "restarting").split()
            counts = listing("inspect", "--format", "{{.RestartCount}}", *restarting) if restarting else []
            if any(int(count) >= _RESTARTS for count in counts):
                up.terminate()
                up.wait()
                return 1


def _explain_failure(compose: Compose) -> None:
    states = [json.loads(line) for line in compose.read("ps", "--all", "--format", "json").splitlines()]
    broken = {state["Service"]: state for state in states if _is_broken(state)}
    # Services and replicas with the same problem log the same: each line once.
    lines: dict[str, None] = {}
    for service in broken:
        log = compose.read("logs", "--tail", "15", "--no-log-prefix", service, stderr=subprocess.STDOUT)
        lines |= dict.fromkeys(log.splitlines())
    say("\n".join(lines))
    names = ", ".join(f"{name} ({state['Status']})" for name, state in broken.items()) or "see above"
    raise ToolError(
        f"The stack did not become healthy: {names}. Fix it and run `make prod` again; `make down` stops it."
    )


def _is_broken(state: Mapping[str, Any]) -> bool:
    if state["State"] == "exited":
        return bool(state["ExitCode"])
    return state["State"] != "running" or state["Health"] not in ("", "healthy")
