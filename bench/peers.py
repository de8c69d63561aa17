"""Everybody who is measured, and how each is started."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.venvs import ARQ, HMR, OWN, TOOLS, UnavailableError, versions
from tools.project import ROOT

Command = list[str]


@dataclass(frozen=True)
class Peer:
    """One of them."""

    name: str
    package: str
    """Whose version is told, if anybody's."""
    bin: Callable[[], Path]
    """The programs of its environment; raises `UnavailableError`."""
    command: Callable[[Path, int], Command]
    """Its command line: from the programs' folder and, for an API, a port."""
    feeder: str = "rq"
    is_ours: bool = False

    @property
    def version(self) -> str:
        """Of its package and, where it needs another than we do, of its Python."""
        try:
            found = versions(self.bin() / "python")
        except UnavailableError:
            return ""
        python = "" if found["python"] == platform.python_version() else f" on Python {found['python']}"
        return f"{self.package} {found[self.package]}{python}" if self.package else ""

    @property
    def environment(self) -> dict[str, str]:
        """What it needs beside what all get."""
        return {"PYTHONPATH": str(ROOT)} if self.is_ours else {}


def _own() -> Path:
    return OWN


def _own_api() -> Path:
    if not (ROOT / "src" / "reload" / "__main__.py").is_file():
        raise UnavailableError("not there yet")
    return OWN


def _program(name: str, *arguments: str) -> Callable[[Path, int], Command]:
    return lambda folder, _port: [str(folder / name), *arguments]


def _around(name: str, *arguments: str) -> Callable[[Path, int], Command]:
    """A watcher around an RQ worker that has imported the application."""
    worker = str(OWN / "python")
    return lambda folder, _port: [
        str(folder / name), *(argument.replace("PYTHON", worker) for argument in arguments)
    ]  # fmt: skip


def _server(*arguments: str) -> Callable[[Path, int], Command]:
    at = ("--host", "127.0.0.1", "--port")
    return lambda folder, port: [str(folder / arguments[0]), *arguments[1:], *at, str(port)]


_UVICORN = ("uvicorn", "app.main:app", "--reload", "--reload-dir", "app")

WORKERS = (
    Peer("this repository's worker", "", _own, _program("python", "-m", "ours"), is_ours=True),
    Peer("`rq worker`, imports in each job", "rq", _own, _program("rq", "worker", "bench", "--url", "REDIS")),
    Peer(
        "watchfiles around an RQ worker", "watchfiles", _own,
        _around("watchfiles", "--filter", "python", "PYTHON -m rq_imported", "app"),
    ),
    Peer(
        "watchmedo auto-restart around it", "watchdog", lambda: TOOLS.bin,
        _around(
            "watchmedo", "auto-restart", "-d", "app", "-p", "**/*.py", "-R", "--",
            "PYTHON", "-m", "rq_imported",
        ),
    ),
    Peer("modification times every 2 s, restart", "", _own, _program("python", "-m", "mtime_restart")),
    Peer(
        "`arq --watch`", "arq", lambda: ARQ.bin,
        _program("arq", "with_arq.WorkerSettings", "--watch", "app"), feeder="arq",
    ),
    Peer(
        "`dramatiq --watch`", "dramatiq", lambda: TOOLS.bin,
        _program("dramatiq", "with_dramatiq", "-p", "1", "-t", "1", "--watch", "app", "-i", "**/*.py"),
        feeder="dramatiq",
    ),
    Peer(
        "`taskiq worker --reload`", "taskiq", lambda: TOOLS.bin,
        _program(
            "taskiq", "worker", "with_taskiq:broker", "--workers", "1", "--reload", "--reload-dir", "app"
        ),
        feeder="taskiq",
    ),
)  # fmt: skip

APIS = (
    Peer(
        "this repository's `python -m src.reload uvicorn`", "", _own_api,
        _server("python", "-m", "src.reload", *_UVICORN), is_ours=True,
    ),
    Peer("`uvicorn --reload`", "uvicorn", _own, _server("python", "-m", *_UVICORN)),
    Peer("`fastapi dev`", "fastapi-cli", lambda: TOOLS.bin, _server("fastapi", "dev", "app/main.py")),
    Peer("`uvicorn-hmr`", "uvicorn-hmr", lambda: HMR.bin, _server("uvicorn-hmr", "app.main:app")),
)  # fmt: skip

JOBS = (
    WORKERS[0],
    Peer(
        "this repository's worker, with three queues", "", _own,
        _program("python", "-m", "ours", "urgent", "soon"), is_ours=True,
    ),
    WORKERS[1],
    Peer("RQ worker that has imported the application", "rq", _own, _program("python", "-m", "rq_imported")),
)  # fmt: skip
"""Those whose jobs are timed: the same job, through the same queue."""
