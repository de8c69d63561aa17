"""`.env` is created once, and read as Compose reads it; `.env.example` shows every setting."""

import re
import stat
from pathlib import Path

import pytest

from src.settings import Settings
from tests.conftest import ROOT
from tools import dotenv

EXAMPLE = ROOT / ".env.example"


def test_it_is_a_copy_of_the_example_without_a_secret(tmp_path: Path) -> None:
    assert dotenv.create(tmp_path / ".env", EXAMPLE)
    values = dotenv.read(tmp_path / ".env")
    values.pop("COMPOSE_PROJECT_NAME", None)  # in a service made by `make new`
    assert values == {"API_PORT": "8000"}


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    dotenv.create(tmp_path / ".env", EXAMPLE)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_a_file_that_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("API_PORT=9000\n")
    assert not dotenv.create(tmp_path / ".env", EXAMPLE)
    assert (tmp_path / ".env").read_text() == "API_PORT=9000\n"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=value", "value"),
        ("KEY=a=b", "a=b"),
        ("  export KEY = value  ", "value"),
        ("KEY=value # a comment", "value"),
        ("KEY=va#lue", "va#lue"),
        ("KEY='two words # no comment' # a comment", "two words # no comment"),
        ('KEY="say \\"so\\""', 'say "so"'),
        ("KEY=", ""),
        ("KEY= # a comment", ""),
    ],
)
def test_a_line_is_read_as_compose_reads_it(line: str, value: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"# KEY=commented\n\n{line}\r\nno assignment\n")
    assert dotenv.read(tmp_path / ".env") == {"KEY": value}


def test_no_file_means_no_variables(tmp_path: Path) -> None:
    assert dotenv.read(tmp_path / ".env") == {}


def test_the_example_shows_every_setting_and_its_default() -> None:
    taught = dict(re.findall(r"(?m)^(?:# )?([A-Z_]+)=(.*)$", EXAMPLE.read_text()))
    compose = {"worker_stop_grace_period": "330s"}  # natively nothing limits it
    for name, field in Settings.model_fields.items():
        default = compose.get(name, "") if field.default is None else str(field.default)
        if isinstance(field.default, tuple):
            default = ",".join(field.default)
        shown = taught.get(name.upper(), "nothing")
        assert shown == (default.lower() if isinstance(field.default, bool) else default), name


def test_the_example_shows_every_variable_of_the_compose_files() -> None:
    taught = set(re.findall(r"(?m)^(?:# )?([A-Z_]+)=", EXAMPLE.read_text()))
    used = set()
    for file in ROOT.glob("docker-compose*.yml"):
        used |= set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", file.read_text()))
    by_make = {"HOST_UID", "HOST_GID", "DEBUGPY_SERVER", "DEBUGPY_WORKER"}
    assert used - by_make <= taught
