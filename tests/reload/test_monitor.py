"""CodeChangeMonitor: what counts as a change, and what happens on mounts without events."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from src.reload import CodeChangeMonitor, monitor
from src.reload.events import Announce, Skip, read_watchfiles
from tests.conftest import wait_until
from tests.kit.repository import replace

NEVER = 3600.0
"""A check interval that never ends: whatever is noticed was announced by an event."""


class Watched:
    """A tree under a monitor, and what it reported."""

    def __init__(self, root: Path, check_interval: float) -> None:
        self.root = root
        self.reports: list[list[str]] = []
        self.monitor = CodeChangeMonitor(root, self.reports.append, check_interval)
        self.monitor.start()

    @property
    def names(self) -> set[str]:
        """All files that it has reported."""
        return {name for report in list(self.reports) for name in report}

    def expect(self, *names: str) -> None:
        """Wait until these files have been reported, and make sure that no others were."""
        wait_until(lambda: set(names) <= self.names, 10, f"{names}, but there is only {self.names}")
        assert self.names == set(names)
        self.reports.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "main.py").write_text("A = 1\n")
    (tmp_path / "package" / "part.py").write_text("B = 1\n")
    return tmp_path


@pytest.fixture
def no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that sends no events."""

    def read_nothing(root: str, announce: Announce, stop: Event, _skip: Skip) -> None:
        announce([root])
        stop.wait()

    monkeypatch.setattr(monitor, "read_events", read_nothing)


@pytest.fixture(params=["events", "watchfiles", "polling"])
def watched(root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """The tree, watched in each possible way."""
    if request.param == "watchfiles":
        monkeypatch.setattr(monitor, "read_events", read_watchfiles)
    if request.param == "polling":
        request.getfixturevalue("no_events")
    watched = Watched(root, 0.05 if request.param == "polling" else NEVER)
    probe = root / "probe.py"
    while not watched.reports:  # the events take a moment to begin
        probe.write_text(f"{time.monotonic()}")
        time.sleep(0.02)
    probe.unlink()
    replace(root / "armed.py", "")
    wait_until(lambda: "armed.py" in watched.names)
    watched.reports.clear()
    yield watched
    watched.monitor.stop()


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "saved": (lambda root: (root / "main.py").write_text("A = 2\n"), {"main.py"}),
    "saved by rename": (lambda root: replace(root / "main.py", "A = 2\n"), {"main.py"}),
    "new": (lambda root: (root / "package" / "new.py").write_text("C = 1\n"), {"package/new.py"}),
    "deleted": (lambda root: (root / "package" / "part.py").unlink(), {"package/part.py"}),
    "renamed": (lambda root: (root / "main.py").rename(root / "program.py"), {"main.py", "program.py"}),
    "directory moved": (
        lambda root: (root / "package").rename(root / "parcel"),
        {"package/part.py", "parcel/part.py"},
    ),
    "directory deleted": (lambda root: shutil.rmtree(root / "package"), {"package/part.py"}),
    "in a new directory": (
        lambda root: shutil.copytree(root / "package", root / "other" / "deep"),
        {"other/deep/part.py"},
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_it_reports_each_kind_of_change(watched: Watched, kind: str) -> None:
    change, names = CHANGES[kind]
    change(watched.root)
    watched.expect(*names)


def test_it_reports_code_only(watched: Watched) -> None:
    (watched.root / "main.py").touch()
    (watched.root / "package" / "part.py").write_text("B = 1\n")
    (watched.root / "notes.log").write_text("not code")
    for name in ("__pycache__", ".git", ".venv", "node_modules"):
        (watched.root / name).mkdir()
        (watched.root / name / "module.py").write_text("D = 1\n")
    (watched.root / ".#main.py").symlink_to("nowhere")
    (watched.root / "last.py").write_text("E = 1\n")
    watched.expect("last.py")


def test_it_notices_a_save_with_the_same_time_and_size_as_the_one_before(watched: Watched) -> None:
    path = watched.root / "main.py"
    path.write_text("A = 2\n")
    watched.expect("main.py")
    status = path.stat()
    path.write_text("A = 3\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    watched.expect("main.py")


def test_it_survives_links_that_lead_in_a_circle(root: Path) -> None:
    (root / "package" / "up").symlink_to(root)
    (root / "package" / "self").symlink_to(root / "package")
    watched = Watched(root, 0.05)
    (root / "package" / "part.py").write_text("B = 2\n")
    watched.expect("package/part.py")
    watched.monitor.stop()


def test_it_follows_links_that_lead_out(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "shared.py").write_text("F = 1\n")
    (root / "linked").symlink_to(outside)
    watched = Watched(root, 0.05)
    (outside / "shared.py").write_text("F = 2\n")
    watched.expect("linked/shared.py")
    watched.monitor.stop()


@pytest.mark.skipif(not os.geteuid(), reason="root may read everything")
def test_a_directory_that_becomes_unreadable_changes_nothing(root: Path) -> None:
    watched = Watched(root, 0.05)
    (root / "package").chmod(0)
    (root / "main.py").write_text("A = 2\n")
    watched.expect("main.py")
    (root / "package").chmod(0o755)
    watched.monitor.stop()


@pytest.mark.slow  # it waits for several scans
@pytest.mark.usefixtures("no_events")
def test_where_events_do_not_work_it_scans_more_often_and_says_so_once(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(monitor, "CPU_SHARE", 1.0)  # else a machine that makes scans expensive decides
    caplog.set_level(logging.INFO)
    watched = Watched(root, 2.0)
    time.sleep(0.1)
    (root / "main.py").write_text("A = 2\n")
    watched.expect("main.py")
    wait_until(lambda: "No file events" in caplog.text)
    wait_until(lambda: watched.monitor.interval == monitor.SHORTEST_INTERVAL)
    for number in range(3, 6):
        (root / "main.py").write_text(f"A = {number}\n")
        watched.expect("main.py")
    assert caplog.text.count("No file events") == 1
    watched.monitor.stop()


def test_when_the_system_has_no_more_watches_it_polls(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(monitor, "read_events", refuse)
    watched = Watched(root, 2.0)
    wait_until(lambda: "No file events" in caplog.text)
    (root / "main.py").write_text("A = 2\n")
    watched.expect("main.py")
    watched.monitor.stop()


def test_where_events_work_it_scans_every_check_interval(root: Path) -> None:
    watched = Watched(root, 2.0)
    (root / "main.py").write_text("A = 2\n")
    watched.expect("main.py")
    assert watched.monitor.interval == 2.0
    watched.monitor.stop()


def test_it_notices_a_tree_that_is_created_later(tmp_path: Path) -> None:
    root = tmp_path / "later"
    watched = Watched(root, 0.05)
    root.mkdir()
    (root / "main.py").write_text("A = 1\n")
    watched.expect("main.py")
    watched.monitor.stop()
