"""`pip install ./src/reload`: the folder as a package, in an environment without this repository."""

import os
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT, wait_until
from tests.kit.processes import running
from tools.ports import free_port

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": b"{}"}})
"""


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of an environment are that has the package, and the packages of this one."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT / "src" / "reload", folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(folder / "venv", symlinks=True)
    python = str(folder / "venv" / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--no-deps", str(folder / "source")], capture_output=True, text=True, check=False
    )
    if "Could not find a version that satisfies the requirement hatchling" in done.stderr:
        pytest.skip("pip finds no package index")
    assert done.returncode == 0, done.stderr
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path))
    return folder / "venv" / "bin"


def test_the_installed_package_reloads_an_application(bin_folder: Path, tmp_path: Path) -> None:
    app, log, port = tmp_path / "main.py", tmp_path / "log", free_port()
    app.write_text(APP.format(1))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(bin_folder / "reload"), "uvicorn", "main:app", "--port", str(port)]
    with running(command, log, cwd=tmp_path, env=environment) as process:
        wait_until(
            lambda: "Application startup complete" in log.read_text() or process.poll(), 60, "the start"
        )
        assert process.poll() is None, log.read_text()
        app.write_text(APP.format(2))
        wait_until(lambda: "New server at work" in log.read_text().partition("CODE CHANGED")[2])
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_the_installed_package_is_typed_and_needs_nothing_of_this_repository(bin_folder: Path) -> None:
    script = "import reload, pathlib; print(pathlib.Path(reload.__file__).with_name('py.typed').exists())"
    command = [str(bin_folder / "python"), "-c", f"{script}; from reload import *"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_it_asks_for_the_same_versions_as_this_repository() -> None:
    package, repository = (
        tomllib.loads((ROOT / path / "pyproject.toml").read_text())["project"] for path in ("src/reload", ".")
    )
    assert package["requires-python"] == repository["requires-python"]
    here = {needed.replace("[standard]", "") for needed in repository["dependencies"]}
    for extra in ("rq", "uvicorn"):
        assert here.issuperset(package["optional-dependencies"][extra])
