"""Copies of the repository: stacks on a real Docker engine, and services that `make new` has made."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.repository import copy_repository
from tests.template import service
from tests.template.docker.engine import docker
from tests.template.running import Running, run
from tools.runtime import docker_problem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything that is on Docker."""
    for item in items:
        if (Path(__file__).parent / "docker") in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """Name of the image of the stacks under test, so that the user's own stays what it is."""
    if problem := docker_problem():
        pytest.skip(problem)
    name = f"sales-dashboard-e2e-{secrets.token_hex(4)}"
    yield name
    docker("image", "rm", "--force", name, may_fail=True)


@pytest.fixture(scope="module")
def clone(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A fresh clone in a folder with spaces in its name; nothing runs yet."""
    folder = tmp_path_factory.mktemp("clone") / "a new repository"
    copy_repository(folder)
    running = Running(folder, "docker", APP_IMAGE=image, CANARY_SECONDS="2")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def production(clone: Running) -> Running:
    """A clone whose production stack runs in the background."""
    clone.make("prod")
    return clone


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with what a clone of this one would hold, and uncommitted changes; only to look at."""
    folder = tmp_path_factory.mktemp("origin") / "template"
    copy_repository(folder)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    service.commit(folder, "The template")
    return folder


@pytest.fixture(scope="session")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that `make new` has made from the template; only to look at."""
    return service.make_new(service.clone(template, tmp_path_factory.mktemp("made") / "a new service"))
