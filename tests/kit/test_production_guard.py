"""What production refuses to start with: the check itself, and the real processes that run it."""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from src.kit import production
from tests.conftest import ROOT, wait_until
from tests.kit.services import settings_read_again
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
HAND_OVER = ("src.reload", *RELOADING)
LONG_EXAMPLE = "change-me-change-me-change-me-change-me"

REFUSED = {
    "auto-reload of the worker": ({"RQ_WORKER_AUTORELOAD": "true"}, ["RQ_WORKER_AUTORELOAD is on"]),
    "reload of Uvicorn": ({"UVICORN_RELOAD": "true"}, ["The API server reloads code"]),
    "reload of Gunicorn": ({"GUNICORN_CMD_ARGS": "--reload"}, ["The API server reloads code"]),
    "debug": ({"DEBUG": "true"}, ["DEBUG is on"]),
    "debug log": ({"LOG_LEVEL": "debug"}, ["LOG_LEVEL is debug"]),
    "no database password": ({"DATABASE_PASSWORD": ""}, ["DATABASE_PASSWORD is missing"]),
    "short database password": ({"DATABASE_PASSWORD": 15 * "b7"}, ["DATABASE_PASSWORD is shorter than 32"]),
    "example of a password": ({"DATABASE_PASSWORD": LONG_EXAMPLE}, ["DATABASE_PASSWORD is an example"]),
    "database password in the URL": (
        {"DATABASE_URL": "postgresql+psycopg://app:pw@127.0.0.1:1/app", "DATABASE_PASSWORD": ""},
        ["DATABASE_PASSWORD is shorter than 32"],
    ),
    "no Redis password": ({"REDIS_PASSWORD": ""}, ["REDIS_PASSWORD is missing"]),
    "short Redis password": ({"REDIS_PASSWORD": "s3cr3t"}, ["REDIS_PASSWORD is shorter than 32"]),
    "example of a Redis password": (
        {"REDIS_PASSWORD": "change-me"},
        ["REDIS_PASSWORD is an example that everybody knows and is shorter than 32"],
    ),
    "no API key": ({"API_KEYS": ""}, ["API_KEYS has no key"]),
    "short API key": ({"API_KEYS": f"{40 * 'abcd'},abcdef"}, ["Key 2 of API_KEYS is shorter than 32"]),
    "example of an API key": ({"API_KEYS": 40 * "x"}, ["Key 1 of API_KEYS is an example"]),
    "SQLite": ({"DATABASE_URL": "sqlite:///app.db", "DATABASE_PASSWORD": ""}, ["DATABASE_URL is SQLite"]),
    "wildcard hosts": ({"ALLOWED_HOSTS": "example.com,*"}, ["ALLOWED_HOSTS allows every name"]),
    "wildcard CORS": ({"CORS_ORIGINS": "*"}, ["CORS_ORIGINS allows every page"]),
    "no such environment": ({"ENVIRONMENT": "prod"}, ["ENVIRONMENT is wrong: Input should be 'dev"]),
    "a number that is none": ({"JOB_RETRIES": "many"}, ["JOB_RETRIES is wrong: Input should be a"]),
    "a URL that is none": ({"REDIS_URL": "redis://[::1"}, ["REDIS_URL is wrong"]),
    "a file that is missing": (
        {"API_KEYS": "", "API_KEYS_FILE": "/no/it"},
        ["API_KEYS is wrong: API_KEYS_FILE names /no/it, which can't be read: No such file or directory"],
    ),
    "a secret and its file": (
        {"REDIS_PASSWORD_FILE": "/no/it"},
        ["REDIS_PASSWORD is wrong: both REDIS_PASSWORD and REDIS_PASSWORD_FILE are set"],
    ),
    "several at once": (
        {
            "RQ_WORKER_AUTORELOAD": "true", "DEBUG": "true", "LOG_LEVEL": "loud", "REDIS_PASSWORD": "",
            "API_KEYS": "change-me", "ALLOWED_HOSTS": "*", "MAX_UPLOAD_MB": "0",
        },
        [
            "LOG_LEVEL is wrong", "MAX_UPLOAD_MB is wrong", "RQ_WORKER_AUTORELOAD is on", "DEBUG is on",
            "REDIS_PASSWORD is missing", "Key 1 of API_KEYS is an example", "ALLOWED_HOSTS allows every name",
        ],
    ),
}  # fmt: skip


def command(program: tuple[str, ...]) -> list[str]:
    address = []
    if program[0] == "gunicorn":
        address = ["--bind", f"127.0.0.1:{free_port()}"]
    elif "uvicorn" in program:
        address = ["--port", str(free_port())]
    return [sys.executable, "-m", *program, *address]


def surroundings(changes: dict[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | GOOD | changes


def problems(environment: dict[str, str], output: str) -> list[str]:
    """The problems that a refusal lists; fails if it shows a traceback or a secret."""
    assert "Traceback" not in output
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "API_KEYS"):
        for secret in environment[name].split(","):
            assert not secret or secret == "change-me" or secret not in output
    _, found, message = output.partition("This can't start in ")
    assert found, output
    return [line for line in message.splitlines() if line.startswith("- ")]


def refusal(program: tuple[str, ...], changes: dict[str, str]) -> list[str]:
    """Start a process that must refuse, and return the problems that it lists."""
    environment = surroundings(changes)
    ended = subprocess.run(
        command(program), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode != 0
    return problems(environment, ended.stdout + ended.stderr)


def assert_says(lines: list[str], expected: list[str]) -> None:
    assert len(lines) == len(expected), lines
    for line, text in zip(lines, expected, strict=True):
        assert line.startswith(f"- {text}")
        assert line.endswith(".")


@pytest.mark.parametrize(("changes", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_the_check_refuses(
    changes: dict[str, str], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment = surroundings(changes)
    with patch.dict(os.environ, environment, clear=True), settings_read_again(), pytest.raises(SystemExit):
        production.checked_settings()
    assert_says(problems(environment, capsys.readouterr().err), expected)


@pytest.mark.slow
@pytest.mark.parametrize("program", [WORKER, GUNICORN], ids=["worker", "API"])
@pytest.mark.parametrize(("changes", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_processes_refuse(program: tuple[str, ...], changes: dict[str, str], expected: list[str]) -> None:
    assert_says(refusal(program, changes), expected)


@pytest.mark.parametrize(
    ("program", "reloads"),
    [
        (WORKER, False),
        (GUNICORN, False),
        (UVICORN, False),
        pytest.param(RELOADING, True, marks=pytest.mark.slow),
        (HAND_OVER, True),
        pytest.param((*GUNICORN, "--reload"), True, marks=pytest.mark.slow),
        (("gunicorn", "-c", "gunicorn.dev.conf.py"), True),
    ],
    ids=[
        "worker",
        "gunicorn",
        "uvicorn",
        "uvicorn --reload",
        "src.reload",
        "gunicorn --reload",
        "gunicorn.dev.conf.py",
    ],
)
def test_every_process_refuses(program: tuple[str, ...], *, reloads: bool) -> None:
    expected = ["The API server reloads code"] if reloads else []
    changes = {"DEBUG": "true", "API_KEYS": "", "CORS_ORIGINS": "*"}
    found = ["DEBUG is on", "API_KEYS has no key", "CORS_ORIGINS allows every page"]
    assert_says(refusal(program, changes), expected + found)


def test_gunicorn_gives_up_when_a_worker_that_loads_the_code_itself_refuses(tmp_path: Path) -> None:
    """Otherwise it would start the worker again and again."""
    (tmp_path / "own.conf.py").write_text("wsgi_app = 'src.main:app'\nworkers = 1\n")
    assert_says(
        refusal(("gunicorn", "-c", str(tmp_path / "own.conf.py")), {"DEBUG": "true"}), ["DEBUG is on"]
    )


def test_migrations_refuse_the_same() -> None:
    assert_says(refusal(("alembic", "upgrade", "head"), {"DEBUG": "true"}), ["DEBUG is on"])


ACCEPTED = {
    "Postgres": {},
    "SQLite that is allowed": {
        "DATABASE_URL": "sqlite:///app.db",
        "DATABASE_PASSWORD": "",
        "ALLOW_SQLITE": "true",
    },
    "hosts and origins": {
        "ALLOWED_HOSTS": "*.example.com,[::1]",
        "CORS_ORIGINS": "https://example.com,https://example.org",
    },
    "no reload": {"UVICORN_RELOAD": "false"},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_check_accepts(changes: dict[str, str]) -> None:
    with patch.dict(os.environ, surroundings(changes), clear=True), settings_read_again():
        assert production.checked_settings().environment == "production"


@pytest.mark.parametrize("program", [WORKER, GUNICORN], ids=["worker", "API"])
def test_processes_start_with_good_settings(program: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(program), cwd=ROOT, env=surroundings({}), stdout=output, stderr=subprocess.STDOUT
        )
    begun = "Waiting before the first job" if program is WORKER else " API..."
    try:
        wait_until(lambda: begun in log.read_text() or process.poll() is not None, 30, "the start")
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


def test_secrets_come_from_files_without_their_last_line_break(tmp_path: Path) -> None:
    changes: dict[str, str] = {}
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "API_KEYS"):
        (tmp_path / name).write_text(GOOD[name].replace(",", "\n") + "\n")
        changes |= {name: "", f"{name}_FILE": str(tmp_path / name)}
    show = (
        "from src.kit.production import checked_settings; s = checked_settings();"
        "print(s.database_url, s.redis_url, *(key.get_secret_value() for key in s.api_keys))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", show], cwd=ROOT, env=surroundings(changes), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    database_url, redis_url, *keys = shown.stdout.split()
    assert f":{GOOD['DATABASE_PASSWORD']}@" in database_url
    assert f":{GOOD['REDIS_PASSWORD']}@" in redis_url
    assert keys == GOOD["API_KEYS"].split(",")
