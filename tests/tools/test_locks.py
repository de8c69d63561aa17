"""The locked packages: what production runs is what development tests."""

import importlib.metadata
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.kit.repository import copy_repository, share_environment


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)(?:\[\S+\])?==(\S+)", (ROOT / name).read_text()))


def test_development_has_the_versions_of_production() -> None:
    assert _pins("requirements.txt").items() <= _pins("requirements-dev.txt").items()
    assert _pins("requirements.txt").items() <= _pins("requirements-debug.txt").items()


def test_tracing_has_the_versions_of_production_and_of_development() -> None:
    tracing, development = _pins("requirements-tracing.txt"), _pins("requirements-dev.txt")
    assert _pins("requirements.txt").items() <= tracing.items()
    assert {
        name: tracing[name] for name in tracing.keys() & development.keys()
    }.items() <= development.items()


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for name, wanted in (
        ("requirements.txt", project["project"]["dependencies"]),
        ("requirements-tracing.txt", project["project"]["optional-dependencies"]["tracing"]),
        ("requirements-debug.txt", project["dependency-groups"]["debug"]),
        ("requirements-dev.txt", project["dependency-groups"]["dev"]),
    ):
        assert {re.split(r"[\[;<>=~ ]", each)[0] for each in wanted} <= _pins(name).keys(), (
            f"run `make lock`: {name}"
        )


def test_the_locks_name_no_host_and_no_path() -> None:
    for path in ROOT.glob("requirements*.txt"):
        text = path.read_text()
        assert not re.findall(r"://|--index|--find-links|--extra|(?m:^ *# .*\s/)", text)


def test_an_extra_is_pinned_with_its_package() -> None:
    """Else older pips take `coverage[toml]` of pytest-cov for a package of its own that nothing pins."""
    text = (ROOT / "requirements-dev.txt").read_text()
    for name in _pins("requirements-dev.txt"):
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # for another platform
            continue
        for extra in re.findall(r"(?m)^([\w.-]+\[[\w,-]+\])(?!.*extra ==)", "\n".join(needs)):
            assert f"\n{extra.lower()}==" in text, f"{name} needs {extra}"


@pytest.mark.slow  # it asks the package index
def test_make_lock_says_what_has_changed_and_what_to_do_next(tmp_path: Path) -> None:
    copy_repository(tmp_path / "copy")
    share_environment(tmp_path / "copy")
    pinned = tmp_path / "copy" / "requirements.txt"
    pinned.write_text(re.sub(r"(?m)^idna==\S+", "idna==3.0", pinned.read_text()))
    command = ["make", "lock"]
    made = subprocess.run(command, cwd=tmp_path / "copy", env=os.environ, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert re.search(r"(?m)^idna  3\.0 → 3\.\d+$", made.stdout)
    assert "`make dev` installs them" in made.stdout
    assert "Run `make test`, then commit" in made.stdout
