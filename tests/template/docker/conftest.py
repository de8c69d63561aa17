"""Stacks on a real Docker engine, each a copy of the repository."""

import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.template.docker.running import Running
from tools.runtime import docker_problem


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """Name of the image of the stacks under test, so that the user's own stays what it is."""
    if lack := docker_problem():
        pytest.skip(lack)
    name = f"sales-dashboard-e2e-{secrets.token_hex(4)}"
    yield name
    subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def clone(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A fresh clone in a folder with spaces in its name; nothing runs yet."""
    running = Running(tmp_path_factory.mktemp("clone") / "a new repository", image)
    yield running
    running.remove()
