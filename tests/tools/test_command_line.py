"""`python -m tools` is what make is, on Windows, too, as far as Linux can pretend to be that."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.kit.repository import copy_repository, share_environment
from tests.tools.windows import TOOLS, windows

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FOREIGN = (
    "MAKEFLAGS",
    "MAKELEVEL",
    "MFLAGS",
    "CALLED_WITHOUT_MAKE",
    "RUNTIME",
    "SERVER",
    "VIRTUAL_ENV",
    "YES",
    "NAME",
)

NAMED = "the Makefile's first lines and .env.example name all."
EXAMPLE = 'NAME="add a column for discounts"'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the repository, in a path with spaces and an umlaut."""
    copy_repository(tmp_path / "a clöne with spaces")
    return tmp_path / "a clöne with spaces"


@pytest.fixture
def run(tree: Path) -> Run:
    """Runs `python -m tools` in the copy."""

    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        environment = {name: value for name, value in os.environ.items() if name not in FOREIGN} | variables
        return subprocess.run(
            [*TOOLS, *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def on_windows(tmp_path: Path) -> dict[str, str]:
    """The variables of a machine with Windows and git, and without Docker."""
    return windows(tmp_path / "programs", "git")


def test_no_command_lists_what_the_makefile_says_about_each(run: Run, on_windows: dict[str, str]) -> None:
    taught = re.findall(r"(?m)^([a-z-]+): ## (.*)$", (ROOT / "Makefile").read_text("utf-8"))
    assert {name for name, _ in taught} >= {"dev", "prod", "down", "logs", "deploy", "test"}
    lines = run(**on_windows).stdout.splitlines()
    told = [re.sub("`make (-s )?", "`python -m tools ", text) for _, text in taught]
    assert lines == [f"python -m tools {taught[n][0]:10} {text}" for n, text in enumerate(told)]
    made = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert made == [f"make {name:10} {text}" for name, text in taught]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("deev", "There is no command deev: `python -m tools` lists them."),
        ("--help", "There is no command --help: `python -m tools` lists them."),
        ("api-key API_PROT=8001", f"There is no variable API_PROT: {NAMED}"),
        ("api-key path=x", f"There is no variable path: {NAMED}"),
        ("api-key", "There is no API key yet: `python -m tools prod` makes one in secrets/api_keys."),
        ("help api-key", "There is no API key yet: `python -m tools prod` makes one in secrets/api_keys."),
        ("API_PORT=1 dev SERVER=x", "SERVER=x is unknown: SERVER=gunicorn, or leave it out for Uvicorn."),
        ("migration", f"The migration needs a name: `python -m tools migration {EXAMPLE}`."),
    ],
)  # fmt: skip
def test_what_it_cannot_do_it_refuses_with_a_sentence(
    run: Run, on_windows: dict[str, str], arguments: str, answer: str
) -> None:
    for variables in ({}, on_windows):
        done = run(*arguments.split(), **variables)
        assert (done.returncode, done.stderr) == (1, f"{answer}\n")


def test_a_variable_is_the_same_as_for_make(run: Run, tree: Path) -> None:
    (tree / "secrets").mkdir(exist_ok=True)
    (tree / "secrets" / "api_keys").write_text("first,second\n")
    assert run("api-key", "API_KEYS_FILE=x").stdout == "first\n"
    for each in (run("migrate", "RUNTIME=nowhere"), run("migrate", RUNTIME="nowhere")):
        assert each.stderr == "RUNTIME=nowhere is unknown: RUNTIME=docker, RUNTIME=native, or leave it out.\n"


@pytest.mark.parametrize(
    "arguments", ["dev", "prod", "dev RUNTIME=native", "migrate", "schedule", "test", "test-all"]
)
def test_what_needs_linux_says_so_on_windows(run: Run, on_windows: dict[str, str], arguments: str) -> None:
    done = run(*arguments.split(), **on_windows)
    assert done.returncode == 1
    assert re.fullmatch(r".* need Linux or macOS: on Windows, .*, or a clone inside WSL 2\.\n", done.stderr)


def test_down_and_logs_find_nothing_to_do_on_windows(
    run: Run, on_windows: dict[str, str], tree: Path
) -> None:
    (tree / "logs").mkdir(exist_ok=True)
    (tree / "logs" / "fastapi.log").touch()
    assert run("down", **on_windows).returncode == 0
    assert run("logs", **on_windows).stderr.startswith("Nothing runs: start it with `python -m tools dev`.")


def test_the_environment_of_windows_has_its_programs_elsewhere(
    run: Run, on_windows: dict[str, str], tree: Path
) -> None:
    if not (ROOT / ".venv" / "installed").is_file():
        pytest.skip("no .venv beside the code: `make check` creates it")
    (tree / ".venv" / "Scripts").mkdir(parents=True)
    for name in ("pyvenv.cfg", "lib", "bin"):  # Linux' Python looks for the packages in the last two
        (tree / ".venv" / name).symlink_to(ROOT / ".venv" / name)
    (tree / ".venv" / "Scripts" / "python.exe").symlink_to(ROOT / ".venv" / "bin" / "python")
    stamp = "from tools import venv; venv._STAMP.write_text(venv._stamp())"
    subprocess.run([TOOLS[0], "-c", stamp], cwd=tree, check=True)
    (tree / "src" / "untidy.py").write_text("A =  1\n")
    done = run("format", **on_windows)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tree / "src" / "untidy.py").read_text() == "A = 1\n"


def test_an_older_python_gets_a_sentence() -> None:
    program = "import sys; sys.version_info = (3, 10); import tools"
    done = subprocess.run([TOOLS[0], "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed: install it")


def test_make_check_looks_at_the_dockerfile_and_at_every_workflow(tree: Path, run: Run) -> None:
    share_environment(tree)
    shutil.rmtree(tree / "src")  # so that mypy has nothing to do
    (tree / "Dockerfile").write_text("FROM python\nUSER root\n")
    workflows = [*tree.glob(".github/workflows/*"), *tree.glob("template/*/.github/workflows/*")]
    for path in workflows:
        path.write_text(re.sub(r"(uses: actions/checkout)@.*", r"\1@v7", path.read_text()))
    done = run("check")
    assert done.returncode
    assert [rule for rule in ("DL3002", "DL3006") if rule not in done.stdout] == []
    assert done.stdout.count("error[unpinned-uses]") == len(workflows) > 0
