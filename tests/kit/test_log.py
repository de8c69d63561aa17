"""The log goes to standard output, and to a file where possible; in production as JSON."""

import json
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.kit.log import configure_logging
from src.settings import Settings
from tests.conftest import ROOT


def test_each_role_has_its_own_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_dir=tmp_path / "logs"), role="fastapi")
    logging.getLogger("src.test").info("hello")
    assert "hello" in capsys.readouterr().out
    assert "hello" in (tmp_path / "logs" / "fastapi.log").read_text()


def test_without_a_writable_folder_it_still_logs_to_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file in its place")
    configure_logging(Settings(log_dir=tmp_path / "logs"), role="fastapi")
    assert "LOG_DIR can't be written" in capsys.readouterr().out


def run(code: str, **environment: str) -> list[str]:
    """The output of a process that configures its log and then runs `code`."""
    setup = "import logging\nfrom src.kit.log import configure_logging\nfrom src.settings import Settings\n"
    process = subprocess.run(
        [sys.executable, "-c", setup + "configure_logging(Settings(), role='test')\n" + code],
        cwd=ROOT, env=os.environ | environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return process.stdout.splitlines()


def run_in_production(code: str, **environment: str) -> list[dict[str, Any]]:
    """The same in production; fails on a line that is not a JSON object."""
    return [json.loads(line) for line in run(code, ENVIRONMENT="production", **environment)]


def test_in_production_a_line_is_an_object_with_time_level_logger_and_message(tmp_path: Path) -> None:
    code = "logging.getLogger('src.test').warning('two\\nlines and %s', 'a \"quote\"', extra={'rows': 3})"
    before = datetime.now(UTC)
    [line] = run_in_production(code, LOG_DIR=str(tmp_path))
    assert before - timedelta(seconds=1) < datetime.fromisoformat(line["time"]) <= datetime.now(UTC)
    assert line | {"time": ""} == {
        "time": "",
        "level": "WARNING",
        "logger": "src.test",
        "message": 'two\nlines and a "quote"',
        "rows": 3,
    }
    assert json.loads((tmp_path / "test.log").read_text()) == line


def test_in_production_a_line_has_the_id_of_its_request() -> None:
    code = "from src.kit import request_id; request_id.use('r-1'); logging.info('hello')"
    assert run_in_production(code)[0]["request_id"] == "r-1"


@pytest.mark.parametrize(
    "code",
    [
        "raise ValueError('no\\nway')",
        "import threading; t = threading.Thread(target=int, args=['x']); t.start(); t.join()",
    ],
)
def test_in_production_an_uncaught_exception_is_one_object_with_its_traceback(code: str) -> None:
    [line] = run_in_production(code)
    assert line["level"] == "CRITICAL"
    assert "Uncaught ValueError" in line["message"]
    assert "Traceback (most recent call last)" in line["traceback"]


def test_in_production_warnings_and_the_lines_of_servers_are_objects() -> None:
    code = (
        "import warnings; warnings.warn('old'); "
        "logging.getLogger('uvicorn.error').info('up', extra={'color_message': 'UP'}); "
        "logging.getLogger('gunicorn.error').error('down'); "
        "logging.getLogger('uvicorn.access').info('GET /?key=secret')"
    )
    warning, up, down = run_in_production(code)
    assert (warning["logger"], up["logger"], down["logger"]) == (
        "py.warnings",
        "uvicorn.error",
        "gunicorn.error",
    )
    assert "color_message" not in up


def test_in_development_a_line_is_plain_text() -> None:
    [line] = run("logging.getLogger('src.test').info('hello')", ENVIRONMENT="development")
    assert line.endswith("INFO    src.test: hello")


def test_in_development_a_line_has_a_color_on_a_terminal_unless_it_is_to_be_plain() -> None:
    code = "logging.getLogger('src.test').warning('careful')"
    for log_format, starts_with in (("color", "\033[33m2"), ("plain", "2"), ("", "2")):
        [line] = run(code, ENVIRONMENT="development", LOG_FORMAT=log_format)
        assert line.startswith(starts_with)
        assert line.endswith("careful\033[0m" if log_format == "color" else "careful")


def test_in_development_what_starts_and_stops_and_checks_that_pass_are_left_out() -> None:
    access = """logging.getLogger('uvicorn.access').info('%s - "%s %s HTTP/%s" %d', '127.0.0.1:1', 'GET', """
    code = "\n".join(
        [
            "logging.getLogger('uvicorn.error').info('Started server process [%d]', 1)",
            f"{access}'/health/ready', '1.1', 200)",
            f"{access}'/health/ready', '1.1', 503)",
            f"{access}'/', '1.1', 200)",
        ]
    )
    assert [line.partition(": ")[2] for line in run(code, ENVIRONMENT="development")] == [
        '127.0.0.1:1 - "GET /health/ready HTTP/1.1" 503',
        '127.0.0.1:1 - "GET / HTTP/1.1" 200',
    ]
