"""The secrets in `secrets/` are created once, each a different one; `make -s api-key` prints the key."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from src.kit import production
from tests.conftest import ROOT
from tools import secret_files


def test_each_missing_file_gets_a_different_secret(tmp_path: Path) -> None:
    assert secret_files.create_missing(tmp_path / "secrets") == [*secret_files.NAMES]
    contents = [path.read_text("ascii") for path in (tmp_path / "secrets").iterdir()]
    assert len({*contents}) == len(secret_files.NAMES)
    assert all(len(content.strip()) >= production.SHORTEST_SECRET for content in contents)


def test_only_their_owner_reaches_them_and_every_user_of_a_container_may_read_one(tmp_path: Path) -> None:
    secret_files.create_missing(tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()} == {0o644}


def test_a_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / secret_files.REDIS).write_text("mine")
    assert secret_files.create_missing(tmp_path) == [secret_files.POSTGRES, secret_files.API_KEYS]
    assert (tmp_path / secret_files.REDIS).read_text() == "mine"


def test_another_secret_gives_another_digest(tmp_path: Path) -> None:
    secret_files.create_missing(tmp_path)
    before = [secret_files.digest(tmp_path, [name]) for name in secret_files.NAMES]
    (tmp_path / secret_files.REDIS).write_text("another")
    after = [secret_files.digest(tmp_path, [name]) for name in secret_files.NAMES]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("variables", [[], ["RUNTIME=native"]], ids=["Docker", "native"])
def test_make_prints_the_first_key_and_nothing_else(tmp_path: Path, variables: list[str]) -> None:
    """In a fresh clone, which has no .venv."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")

    def make() -> "subprocess.CompletedProcess[str]":
        command = ["make", "-s", "api-key", *variables]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    missing = make()
    assert (missing.returncode != 0, missing.stdout) == (True, "")
    assert missing.stderr.startswith("There is no API key yet: `make prod` makes one")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "api_keys").write_text("first\nsecond\n")
    found = make()
    assert (found.returncode, found.stdout, found.stderr) == (0, "first\n", "")
    (tmp_path / "secrets" / "api_keys").write_text("deployment:write:first\nsecond\n")
    assert make().stdout == "first\n"
