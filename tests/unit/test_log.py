"""The log goes to standard output, and to a file where that can be written."""

import logging
from pathlib import Path

import pytest

from src.log import configure_logging
from src.settings import Settings


def test_each_process_has_a_file_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(log_dir=tmp_path / "logs"), role="fastapi")
    logging.getLogger("src.test").info("hello")
    assert "hello" in capsys.readouterr().out
    assert "hello" in (tmp_path / "logs" / "fastapi.log").read_text()


def test_a_folder_that_cannot_be_written_costs_the_file_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file in its place")
    configure_logging(Settings(log_dir=tmp_path / "logs"), role="fastapi")
    assert "LOG_DIR can't be written" in capsys.readouterr().out
