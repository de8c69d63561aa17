"""Virtual environments for the peers, which want other versions of some packages than the project."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.project import ROOT

HERE = Path(__file__).parent
VENVS = HERE / ".venv"

APPLICATION = ("fastapi", "uvicorn[standard]", "sqlalchemy", "pydantic", "rq", "redis", "watchfiles")
"""What the application needs, in the versions of `requirements.txt`."""


class UnavailableError(Exception):
    """A peer can't be measured here; says why."""


@dataclass(frozen=True)
class Venv:
    """An environment: the application's packages and those of `requirements-<name>.txt`."""

    name: str
    newest_redis: bool = True
    """Whether the version of redis-py is the project's too; else the peer decides."""
    python: tuple[int, int] | None = None
    """The oldest Python that it works with, if the one that runs the bench may be too old."""

    @property
    def bin(self) -> Path:
        """Its programs, installed when they are not there yet.

        Raises:
            UnavailableError: they can't be.
        """
        return _make(self) / "bin"


OWN = Path(sys.executable).parent
"""The programs of the environment that the bench itself runs in."""

TOOLS = Venv("tools")
ARQ = Venv("arq", newest_redis=False)
HMR = Venv("hmr", python=(3, 12))


@cache
def versions(python: Path) -> dict[str, str]:
    """Versions of all packages in an environment, and of its `python`, names in small letters."""
    script = (
        "import importlib.metadata as m, json, platform; "
        "print(json.dumps({d.name.lower(): d.version for d in m.distributions()}"
        " | {'python': platform.python_version()}))"
    )
    run = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(run.stdout)
    return found


@cache
def _make(venv: Venv) -> Path:
    directory = VENVS / venv.name
    python = _python(venv)
    wanted = [*_pins(venv), *(HERE / f"requirements-{venv.name}.txt").read_text().split()]
    digest = hashlib.sha256("\n".join([*wanted, python, str(directory)]).encode()).hexdigest()
    stamp = directory / "installed"
    if stamp.is_file() and stamp.read_text() == digest:
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    if uv := shutil.which("uv"):
        _run(uv, "venv", "--quiet", "--python", python, str(directory))
        _run(uv, "pip", "install", "--quiet", "--python", str(directory / "bin" / "python"), *wanted)
    else:
        _run(python, "-m", "venv", str(directory))
        pip = [
            str(directory / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-qq",
            "--disable-pip-version-check",
        ]
        _run(*pip, *wanted)
    stamp.write_text(digest)
    return directory


def _pins(venv: Venv) -> list[str]:
    text = (ROOT / "requirements.txt").read_text()
    pinned = dict(re.findall(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==([^ ;\\]+)", text, re.MULTILINE))
    names = [name for name in APPLICATION if venv.newest_redis or name != "redis"]
    return [f"{name}=={pinned[name.partition('[')[0]]}" for name in names]


def _python(venv: Venv) -> str:
    if venv.python is None or sys.version_info >= venv.python:
        return sys.executable
    for minor in range(venv.python[1], 20):
        for found in _candidates(minor):
            check = [found, "-c", f"import sys; sys.exit(sys.version_info < {venv.python})"]
            if not subprocess.run(check, capture_output=True, check=False).returncode:
                return found
    raise UnavailableError(f"needs Python {'.'.join(map(str, venv.python))}, and there is none on the PATH")


def _candidates(minor: int) -> list[str]:
    on_path = shutil.which(f"python3.{minor}")
    pyenv = (Path.home() / ".pyenv" / "versions").glob(f"3.{minor}.*/bin/python3")
    return [*([on_path] if on_path else []), *sorted(map(str, pyenv))]


def _run(*command: str) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        lines = (run.stderr or run.stdout).strip().splitlines() or ["no reason given"]
        raise UnavailableError(f"could not be installed: {lines[-1].strip()}")
