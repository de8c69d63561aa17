"""What keeps two clones on one machine apart: the name of the Compose project, and ports."""

import hashlib
import http.client
import os
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tools import dotenv, ports, project
from tools.console import say


def own_project(name: str) -> str | None:
    """A new name, kept in `.env`, if a clone in another folder has containers of this project; else None."""
    label = "com.docker.compose.project"
    command = ["docker", "ps", "--all", "--filter", f"label={label}={name}"]
    command += ["--format", f'{{{{.Label "{label}.working_dir"}}}}']
    listed = subprocess.run(command, capture_output=True, encoding="utf-8", check=False).stdout.splitlines()
    folders = {Path(folder) for folder in listed if folder}  # paths, since Windows has no case in them
    others = {folder for folder in folders if folder.is_dir()} - {project.ROOT, Path.cwd()}
    if "COMPOSE_PROJECT_NAME" in os.environ or not others:
        return None
    own = f"{name}-{hashlib.sha256(str(project.ROOT).encode()).hexdigest()[:6]}"
    _keep("COMPOSE_PROJECT_NAME", own)
    say(f"The project {name} belongs to {others.pop()}: this clone is {own} from now on (in .env).")
    return own


def api_port(environment: Mapping[str, str], target: str) -> int:
    """The port of the API, which is free. In development, another one than that of a clone that runs.

    Raises:
        ToolError: it is not a port, or taken.
    """
    port = ports.api_port(environment)
    if target == "dev" and "API_PORT" not in os.environ and _is_clone(port):
        taken, port = port, next(filter(ports.is_free, range(port + 1, 65536)))
        _keep("API_PORT", str(port))
        say(f"Another clone uses port {taken}: this one uses {port} from now on (API_PORT in .env).")
    ports.require_free(port, target)
    return port


def redis_port() -> int:
    """The port of the native Redis: the same at each start, unless another program has it by now."""
    file = project.DATA / "redis" / "port"
    kept = file.read_text("ascii") if file.is_file() else ""
    port = int(kept) if kept.isdecimal() and ports.is_free(int(kept)) else ports.free_port()
    file.write_text(str(port), "ascii")
    return port


def _keep(name: str, value: str) -> None:
    dotenv.create(project.ENV_FILE, project.ROOT / ".env.example")
    dotenv.write(project.ENV_FILE, name, value)


def _is_clone(port: int) -> bool:
    """Whether the API of another clone answers there."""
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/health/live")
            response = connection.getresponse()
            return response.read() == b'{"status":"ok"}' and "X-Request-ID" in response.headers
    except (OSError, http.client.HTTPException):
        return False
