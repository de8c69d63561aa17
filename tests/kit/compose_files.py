"""The compose files, rendered by `docker compose config`, which needs no daemon."""

import json
import os
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.kit.services import ROOT

BASE, DEV, PROD = (ROOT / f"docker-compose{part}.yml" for part in ("", ".dev", ".prod"))
FORMS = {"base": [BASE], "development": [BASE, DEV], "production": [BASE, PROD]}
TLS = ROOT / "docker-compose.tls.yml"
PRODUCTION_LIKE = ("base", "production")
PROJECT = "contract"


class Loader(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
    """Reads YAML with the tags of Compose, `!reset` and `!override`, as if they were not there."""


Loader.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_sequence(node))


def content_of(path: Path) -> dict[str, Any]:
    """A compose file as it is written."""
    content: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader)  # noqa: S506  a safe loader
    return content


@cache
def has_compose() -> bool:
    """Whether there is a docker command with the compose plugin."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def run_docker(
    *arguments: str, stdin: str | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the Docker client without any setting of this machine."""
    if not has_compose():
        pytest.skip("no docker command with the compose plugin: the compose files were not rendered")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["docker", *arguments], env=kept | environment, cwd=ROOT, input=stdin,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def render(form: str, **environment: str) -> dict[str, Any]:
    """One of the three combinations of files, as Compose understands it."""
    files = [part for path in FORMS[form] for part in ("-f", str(path))]
    nothing = ("--env-file", os.devnull, "--project-name", PROJECT)
    result = run_docker("compose", *nothing, *files, "config", "--format", "json", **environment)
    assert result.returncode == 0, result.stderr
    rendered: dict[str, Any] = json.loads(result.stdout)
    return rendered


@cache
def services(form: str) -> dict[str, dict[str, Any]]:
    """The services of a form, by name."""
    found: dict[str, dict[str, Any]] = render(form)["services"]
    return found


def command(form: str, service: str, **environment: str) -> str:
    """The command line of a service."""
    return shlex.join(render(form, **environment)["services"][service]["command"])
