"""The virtual environment `.venv`, with exactly what `requirements-dev.txt` pins, and the pins themselves."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.console import ToolError, say
from tools.project import ROOT

VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
LOCK = ROOT / "requirements-dev.txt"
_STAMP = VENV / "installed"


def ensure() -> Path:
    """Make the environment, or renew it after a change of the lock; return its Python.

    Raises:
        ToolError: it could not be made; the reason is printed above the message.
    """
    if not _works():
        _create()
    elif is_current():
        return PYTHON
    install()
    return PYTHON


def install() -> None:
    """Install what the lock says; processes that run in the environment see by its stamp when that is done.

    Raises:
        ToolError: it did not work; what was installed before is probably still there.
    """
    stamp = _stamp()
    _STAMP.unlink(missing_ok=True)
    tool = "uv" if shutil.which("uv") else "pip"
    say(f"Installing the locked packages into .venv with {tool}: takes a minute or two the first time.")
    if tool == "uv":
        install = ["uv", "pip", "sync", "--quiet", "--require-hashes", "--python", str(PYTHON), str(LOCK)]
    else:
        pip = [str(PYTHON), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        install = [*pip, "--require-hashes", "-r", str(LOCK)]
    _run(install, "Installing the packages failed: check the network and these lines, then try again.")
    _STAMP.write_text(stamp, "ascii")


def pin(*options: str) -> None:
    """Pin the packages that `pyproject.toml` asks for, for every platform and Python, with options of uv.

    Raises:
        ToolError: it did not work.
    """
    uv = ["uv"]
    if not shutil.which("uv"):
        python = PYTHON if PYTHON.exists() else ensure()
        _run([str(python), "-m", "pip", "install", "--quiet", "uv"], "Installing uv failed:")
        uv = [str(python), "-m", "uv"]
    options += ("--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url")
    options += ("--quiet", "--no-strip-extras", "--custom-compile-command", "make lock", "pyproject.toml")
    groups = [(f"-{name}", ["--group", name]) for name in ("debug", "dev")]
    for name, extra in (("", []), ("-tracing", ["--extra", "tracing"]), *groups):
        command = [*uv, "pip", "compile", *options, *extra, "-o", f"requirements{name}.txt"]
        _run(command, "The packages could not be pinned:")
    say("Renewed requirements.txt, and those for tracing, debug and dev.")


def is_current() -> bool:
    """Whether it holds what the lock pins."""
    return _STAMP.is_file() and _STAMP.read_text("ascii") == _stamp()


def _stamp() -> str:
    # The path is part of it: the scripts of an environment break when it moves.
    return hashlib.sha256(LOCK.read_bytes() + str(VENV.resolve()).encode()).hexdigest()


def _works() -> bool:
    # Without a stamp it was never finished.
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not (_STAMP.is_file() and PYTHON.exists()):
        return False
    return subprocess.run([PYTHON, "-c", check], capture_output=True, check=False).returncode == 0


def _create() -> None:
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    if shutil.which("uv"):
        create = ["uv", "venv", "--quiet", "--python", sys.executable, str(VENV)]
    else:
        create = [sys.executable, "-m", "venv", str(VENV)]
    _run(
        create,
        "Making .venv failed: install uv, or Python's venv (on Debian and Ubuntu: apt install python3-venv).",
    )


def _run(command: Sequence[str], failure: str) -> None:
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{failure}\n{done.stderr.strip()}")
