"""What production refuses to start with: the check itself, and the real processes that run it."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from src.kit import production
from tests.conftest import ROOT, wait_until
from tests.kit.processes import running
from tests.kit.services import settings_read_again
from tests.kit.tables import read_table
from tools.ports import free_port

GOOD = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql+psycopg://app@127.0.0.1:1/app",
    "DATABASE_PASSWORD": secrets.token_hex(16),
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "REDIS_PASSWORD": secrets.token_hex(16),
    "API_KEYS": f"{secrets.token_hex(16)},{secrets.token_urlsafe(32)}",
    "WEB_CONCURRENCY": "1",
}
WORKER = ("src.rq_worker",)
GUNICORN = ("gunicorn", "-c", "gunicorn.conf.py")
UVICORN = ("uvicorn", "src.main:app")
RELOADING = (*UVICORN, "--reload", "--reload-dir", "src")
PROGRAMS = {
    "worker": WORKER,
    "gunicorn": GUNICORN,
    "uvicorn": UVICORN,
    "uvicorn --reload": RELOADING,
    "src.reload": ("src.reload", *RELOADING),
    "gunicorn --reload": (*GUNICORN, "--reload"),
    "gunicorn.dev.conf.py": ("gunicorn", "-c", "gunicorn.dev.conf.py"),
}
NO_KEY = "API_KEYS has no key"
SLOW = ("uvicorn --reload", "gunicorn --reload")
REFUSED, ACCEPTED = read_table("production_guard.toml").values()

refused = pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
programs = pytest.mark.parametrize("program", [WORKER, GUNICORN], ids=["worker", "API"])


def command(program: tuple[str, ...]) -> list[str]:
    address = []
    if program[0] == "gunicorn":
        address = ["--bind", f"127.0.0.1:{free_port()}"]
    elif "uvicorn" in program:
        address = ["--port", str(free_port())]
    return [sys.executable, "-m", *program, *address]


def surroundings(case: dict[str, Any]) -> dict[str, str]:
    """The environment of a production with the variables of a case."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | GOOD | {name: value for name, value in case.items() if name != "says"}


def assert_refusal(case: dict[str, Any], output: str) -> None:
    """Check that a refusal lists the problems of a case, and shows neither a traceback nor a secret."""
    assert "Traceback" not in output
    environment = surroundings(case)
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "API_KEYS"):
        for secret in environment[name].split(","):
            assert not secret or secret == "change-me" or secret not in output
    _, found, message = output.partition("This can't start in ")
    assert found, output
    lines = [line for line in message.splitlines() if line.startswith("- ")]
    assert len(lines) == len(case["says"]), lines
    for line, text in zip(lines, case["says"], strict=True):
        assert line.startswith(f"- {text}")
        assert line.endswith(".")


def assert_refuses(program: tuple[str, ...], case: dict[str, Any]) -> None:
    """Start a process, and check its refusal; only the API asks for a key."""
    says = [text for text in case["says"] if program is not WORKER or text != NO_KEY]
    case = case | {"says": says}
    ended = subprocess.run(
        command(program), cwd=ROOT, env=surroundings(case), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert_refusal(case, ended.stdout + ended.stderr)


@refused
def test_the_check_refuses(case: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with (
        patch.dict(os.environ, surroundings(case), clear=True),
        settings_read_again(),
        pytest.raises(SystemExit),
    ):
        production.checked_settings(serves=True)
    assert_refusal(case, capsys.readouterr().err)


@pytest.mark.slow
@programs
@refused
def test_processes_refuse(program: tuple[str, ...], case: dict[str, Any]) -> None:
    assert_refuses(program, case)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PROGRAMS]
)
def test_every_process_refuses(name: str) -> None:
    case: dict[str, Any] = {"DEBUG": "true", "API_KEYS": "", "CORS_ORIGINS": "*"}
    case["says"] = ["DEBUG is on", NO_KEY, "CORS_ORIGINS allows every page"]
    if "reload" in name or "dev" in name:
        case["says"].insert(0, "The API server reloads code")
    assert_refuses(PROGRAMS[name], case)


def test_gunicorn_gives_up_when_a_worker_that_loads_the_code_itself_refuses(tmp_path: Path) -> None:
    """Otherwise it would start the worker again and again."""
    (tmp_path / "own.conf.py").write_text("wsgi_app = 'src.main:app'\nworkers = 1\n")
    assert_refuses(("gunicorn", "-c", str(tmp_path / "own.conf.py")), REFUSED["debug"])


def test_gunicorn_counts_its_processes_wherever_their_number_is_set() -> None:
    says = ["DATABASE_MAX_CONNECTIONS is 100, but the API may open 120 connections (2 a process)"]
    assert_refuses((*GUNICORN, "--workers", "60"), {"says": says})


def test_migrations_refuse_the_same() -> None:
    assert_refuses(("alembic", "upgrade", "head"), REFUSED["debug"])


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_check_accepts(case: dict[str, Any]) -> None:
    with patch.dict(os.environ, surroundings(case), clear=True), settings_read_again():
        assert production.checked_settings().environment == "production"


@programs
def test_processes_start_with_good_settings(program: tuple[str, ...], tmp_path: Path) -> None:
    log, case = tmp_path / "log", {"API_KEYS": ""} if program is WORKER else {}
    begun = "Waiting before the first job" if program is WORKER else " API..."
    with running(command(program), log, cwd=ROOT, env=surroundings(case)) as process:
        wait_until(lambda: begun in log.read_text() or process.poll() is not None, 30, "the start")
        assert process.poll() is None, log.read_text()


def test_secrets_come_from_files_without_their_last_line_break(tmp_path: Path) -> None:
    changes: dict[str, str] = {}
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "API_KEYS"):
        (tmp_path / name).write_text(GOOD[name].replace(",", "\n") + "\n")
        changes |= {name: "", f"{name}_FILE": str(tmp_path / name)}
    show = (
        "from src.kit.production import checked_settings; s = checked_settings();"
        "print(s.database_url, s.redis_url, *(key.secret.get_secret_value() for key in s.api_keys))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", show], cwd=ROOT, env=surroundings(changes), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    database_url, redis_url, *keys = shown.stdout.split()
    assert f":{GOOD['DATABASE_PASSWORD']}@" in database_url
    assert f":{GOOD['REDIS_PASSWORD']}@" in redis_url
    assert keys == GOOD["API_KEYS"].split(",")
