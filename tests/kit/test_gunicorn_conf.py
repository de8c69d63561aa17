"""Gunicorn's settings: how many workers, and what differs in development."""

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT


def load(name: str = "gunicorn.conf.py") -> dict[str, Any]:
    """The settings, as Gunicorn reads them."""
    return runpy.run_path(str(ROOT / name))


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], float]:
    """`cores` of the configuration, on a machine that allows 8 of its cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    function: Callable[[Path], float] = load()["cores"]
    return function


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "1600000 100000\n"}, 8),
        ({"cpu.max": "rubbish\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "50000\n"}, 8),
    ],
)
def test_the_cores_are_the_share_of_the_container(
    cores: Callable[[Path], float], tmp_path: Path, files: dict[str, str], expected: float
) -> None:
    assert cores(write(tmp_path, files)) == expected


def test_without_affinity_all_cores_count(
    cores: Callable[[Path], float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert cores(tmp_path) == 10


def test_there_are_two_workers_a_core_and_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    settings = load()
    assert settings["workers"] == int(settings["cores"]() * 2) + 1


@pytest.mark.parametrize("empty", [None, ""])
def test_web_concurrency_overrides_the_number_of_workers(
    monkeypatch: pytest.MonkeyPatch, empty: str | None
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "7")
    assert load()["workers"] == 7
    if empty is None:
        monkeypatch.delenv("WEB_CONCURRENCY")
    else:
        monkeypatch.setenv("WEB_CONCURRENCY", empty)
    assert load()["workers"] >= 1


def test_production_preloads_and_never_reloads() -> None:
    settings = load()
    assert settings["preload_app"] is True
    assert settings["reload"] is False
    assert settings["loglevel"] != "debug"


def test_development_has_one_worker_that_reloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "7")
    development, production = load("gunicorn.dev.conf.py"), load()
    assert (development["workers"], development["reload"], development["loglevel"]) == (1, True, "debug")
    assert development["preload_app"] is False
    assert development["timeout"] == 0, "a request may be at a breakpoint"
    for same in ("wsgi_app", "worker_class", "bind", "graceful_timeout"):
        assert development[same] == production[same]


@pytest.mark.parametrize("name", ["gunicorn.conf.py", "gunicorn.dev.conf.py"])
def test_gunicorn_writes_the_access_log_in_development_and_the_application_in_production(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "development")
    assert load(name)["accesslog"] == "-"
    assert "logger_class" not in load(name)
    monkeypatch.setenv("ENVIRONMENT", "production")
    assert load(name)["accesslog"] is None
    assert load(name)["logger_class"].__name__ == "JsonLogger"
