"""`make test` says how many tests it left out, and why."""

import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools import project, tests, venv

SUITE = """
import pytest
def test_fast(): pass
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.e2e
def test_on_docker(): pytest.skip("no Docker daemon answers")
def test_skipped(): pytest.skip("no Postgres")
"""


@pytest.mark.parametrize(
    ("selections", "arguments", "code", "said"),
    [
        (
            ["not slow and not e2e"],
            "-n 1",
            0,
            ["1 test, no Postgres", "1 test, slow", "1 test, on Docker"],
        ),
        (["not e2e", "e2e"], "-n 0", 0, ["1 test, no Postgres", "1 test, no Docker daemon answers"]),
        (["not e2e", "e2e"], "-n 0 -k fast", 0, ["nothing"]),
        (["slow and not e2e", "e2e"], "-n 0 -k nowhere", 5, ["nothing"]),
    ],
    ids=["test", "test-all", "one by name", "an unknown name"],
)
def test_the_last_line_counts_what_was_left_out(
    selections: list[str], arguments: str, code: int, said: list[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.kit.left_out"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    e2e\n")
    monkeypatch.setattr(project, "ROOT", tmp_path)
    monkeypatch.setattr(venv, "ensure", lambda: Path(sys.executable))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading all of them takes a second each time
    monkeypatch.setenv("ARGS", f"-p xdist.plugin {arguments}")
    assert tests.run(*selections) == code
    last = capfd.readouterr().out.splitlines()[-1]
    assert last.startswith("Left out: ")
    assert all(text in last for text in said), last
    assert last.count("1 test") == len(said) - said.count("nothing")
