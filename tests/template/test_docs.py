"""The commands in the README and the guides work, natively, and what they name exists."""

import re
from collections.abc import Iterator

import pytest

from src.settings import Settings
from tests.conftest import ROOT, wait_until
from tests.kit.repository import copy_repository, share_environment
from tests.template import docs
from tests.template.running import Running

DOCUMENTS = (
    "README.md",
    "AGENTS.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/COPYING.md",
    "docs/DEVELOPMENT.md",
    "docs/PRODUCTION.md",
    "docs/DEPLOYMENT.md",
    "docs/OBSERVABILITY.md",
)
MADE_LATER = {"src/notes"}
"""What the guides name, and `make new` creates."""


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`make dev`, running natively in a copy of the repository."""
    folder = tmp_path_factory.mktemp("clone") / "a new repository"
    copy_repository(folder)
    share_environment(folder)
    running = Running(folder, "native")
    try:
        running.start("dev", "Ready.")
        yield running
    finally:
        running.stop()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/DEVELOPMENT.md", "docs/OBSERVABILITY.md"])
def test_the_commands_of_a_guide_work(development: Running, name: str) -> None:
    for command in docs.commands(name):
        if "make down" not in command:
            docs.run(command, development)


@pytest.mark.slow
def test_the_sum_in_the_readme_is_right(development: Running) -> None:
    (block,) = [command for command in docs.commands("README.md") if "summary" in command]
    seen = '"total":"8.49"'
    wait_until(lambda: seen in docs.run(block, development), 30, "the import of the README's two rows")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_target_and_setting_that_a_guide_names_is_there(name: str) -> None:
    text = (ROOT / name).read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make (?:-s )?([a-z0-9-]+)", text)) <= targets
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / name).parent.joinpath(path).exists(), path
    for path in re.findall(r"`((?:src|docs|tests|tools|migrations)/[^`* <]*)`", text):
        assert path in MADE_LATER or (ROOT / path).exists(), path
    taught = (ROOT / ".env.example").read_text()
    for setting in re.findall(r"`([A-Z]+_[A-Z_]+)[`=]", text):
        known = setting.lower().removesuffix("_file") in Settings.model_fields or setting in taught
        is_foreign = setting.startswith(("UVICORN_", "GUNICORN_", "WATCHFILES_", "HOST_", "OTEL_"))
        assert known or is_foreign, setting


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([^)#]+\.md)\)", (ROOT / "README.md").read_text()))
    pages = {path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))}
    assert pages - {"README.md"} <= linked
