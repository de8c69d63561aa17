"""What editors read from the repository, in the template and in a service made from it."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.conftest import ROOT
from tests.kit.compose_files import PROJECT, run_docker
from tests.template.running import run
from tests.template.service import NAME


@pytest.fixture(params=["template", "service"])
def repository(request: pytest.FixtureRequest) -> Path:
    """The template, and a service that `make new` has made from it."""
    if request.param == "template":
        return ROOT
    made: Path = request.getfixturevalue("made")
    return made


def read(path: Path) -> dict[str, Any]:
    """The content of a file, whose lines may be comments."""
    text = re.sub(r"(?m)^\s*//.*$", "", path.read_text("utf-8"))
    content: dict[str, Any] = json.loads(text)
    return content


def test_every_file_for_an_editor_can_be_read(repository: Path) -> None:
    names = run(repository, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    files = [name for name in names if name.startswith((".vscode/", ".devcontainer/"))]
    assert {".vscode/tasks.json", ".vscode/settings.json", ".devcontainer/devcontainer.json"} <= {*files}
    for name in files:
        if name.endswith(".json"):
            assert read(repository / name), name


def test_every_task_runs_a_command_of_the_makefile_with_make_and_on_windows(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text("utf-8")
    tasks = read(repository / ".vscode" / "tasks.json")["tasks"]
    assert {task["label"] for task in tasks} >= {"dev", "test", "check"}
    for task in tasks:
        assert re.search(rf"(?m)^{task['label']}: ## ", makefile), task
        assert task["command"] == f"make {task['label']}"
        assert task["windows"]["command"] == f"python -m tools {task['label']}"


def test_the_dev_container_is_the_api_of_the_development_stack(repository: Path) -> None:
    folder = repository / ".devcontainer"
    container = read(folder / "devcontainer.json")
    files = [(folder / name).resolve() for name in container["dockerComposeFile"]]
    names = ["docker-compose.yml", "docker-compose.dev.yml", ".devcontainer/docker-compose.yml"]
    assert files == [(repository / name).resolve() for name in names]
    known = {name for file in files for name in yaml.safe_load(file.read_text("utf-8"))["services"]}
    assert {container["service"], *container["runServices"]} <= known
    options = [part for file in files for part in ("-f", str(file))]
    nothing = ("--env-file", os.devnull, "--project-name", PROJECT)
    rendered = run_docker("compose", *nothing, *options, "config", "--format", "json")
    config = json.loads(rendered.stdout)
    service = config["services"][container["service"]]
    mounts = {
        mount["target"]: Path(mount["source"]) for mount in service["volumes"] if mount["type"] == "bind"
    }
    assert mounts[container["workspaceFolder"]] == repository.resolve()
    assert mounts["/app/src"] == (repository / "src").resolve()
    assert {port["target"] for port in service["ports"]} == {*container["forwardPorts"]}
    assert "--reload" in service["command"]
    assert service["environment"]["API_PORT"] == "8000", "taken: `make dev` in there takes no other one"
    assert service["image"] != config["services"]["rqworker"]["image"]


def test_it_has_the_name_of_the_service(made: Path) -> None:
    assert read(made / ".devcontainer" / "devcontainer.json")["name"] == NAME
