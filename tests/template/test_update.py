"""`make update` merges what is new in the template into a service, and keeps what was changed there."""

import json
import shutil
from pathlib import Path

import pytest

from tests.template import service
from tests.template.service import attempt, clone, commit, make_new, run

pytestmark = pytest.mark.slow  # it makes services, and merges the template into them


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A repository that holds the template, and a service made from it."""
    template = service.template(tmp_path_factory.mktemp("template") / "template")
    return template, make_new(clone(template, tmp_path_factory.mktemp("service") / "service"))


@pytest.fixture
def template(originals: tuple[Path, Path], tmp_path: Path) -> Path:
    """The template, for this test to change."""
    return clone(originals[0], tmp_path / "template")


@pytest.fixture
def made(originals: tuple[Path, Path], template: Path, tmp_path: Path) -> Path:
    """The service, whose template is the one of this test."""
    folder = tmp_path / "service"
    shutil.copytree(originals[1], folder)
    record = folder / ".template"
    record.write_text(record.read_text().replace(str(originals[0]), str(template)))
    commit(folder)
    return folder


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def prepend(path: Path, text: str) -> None:
    path.write_text(text + path.read_text())


def test_both_sides_changes_are_there_afterwards(template: Path, made: Path) -> None:
    # In the template: changed, new, deleted and moved files, a name, and what belongs to the service.
    append(template / "src" / "kit" / "limits.py", "\nTEMPLATE = 1\n")
    append(template / "docker-compose.yml", "# template: sales-dashboard\n")
    append(template / "pyproject.toml", "# template\n")
    append(template / "README.md", "template\n")
    append(template / "src" / "sales" / "models.py", "# template\n")
    append(template / "template" / "service" / "src" / "notes" / "models.py", "# template\n")
    append(template / "template" / "service" / ".github" / "workflows" / "ci.yml", "# template\n")
    (template / "src" / "kit" / "added.py").write_text("ADDED = 1\n")
    (template / "tests" / "kit" / "test_added.py").write_text("# added\n")
    (template / "tools" / "processes.py").rename(template / "tools" / "process_manager.py")
    (template / "tests" / "tools" / "test_swarm.py").unlink()
    (template / "src" / "kit" / "request_id.py").unlink()
    append(template / "src" / "kit" / "running.py", "\nTEMPLATE = 1\n")
    commit(template, "What is new")
    # In the service: the same files elsewhere, and files of its own.
    prepend(made / "src" / "kit" / "limits.py", "# service\n")
    prepend(made / "tools" / "processes.py", "# service\n")
    prepend(made / "src" / "kit" / "request_id.py", "# service\n")
    prepend(made / "docker-compose.yml", "# service\n")
    prepend(made / "README.md", "service\n")
    (made / "src" / "kit" / "running.py").unlink()
    (made / "src" / "notes" / "routes.py").unlink()
    (made / "src" / "orders.py").write_text("OWN = 1\n")
    commit(made, "Our own")

    output = run(made, "make", "update")

    limits = (made / "src" / "kit" / "limits.py").read_text()
    assert limits.startswith("# service\n")
    assert limits.endswith("\nTEMPLATE = 1\n")
    compose = (made / "docker-compose.yml").read_text()
    assert compose.startswith("# service\n")
    assert compose.endswith("# template: order-service\n")
    assert (made / "pyproject.toml").read_text().endswith("# template\n")
    assert (made / ".github" / "workflows" / "ci.yml").read_text().endswith("# template\n")
    assert (made / "src" / "kit" / "added.py").is_file()
    assert (made / "tests" / "kit" / "test_added.py").is_file()
    assert (made / "tools" / "process_manager.py").read_text().startswith("# service\n")
    assert not (made / "tools" / "processes.py").exists()
    assert not (made / "tests" / "tools" / "test_swarm.py").exists()
    assert "src/kit/running.py stays deleted" in output
    assert not (made / "src" / "kit" / "running.py").exists()
    assert "src/kit/request_id.py stays, since you have changed it" in output
    assert (made / "src" / "kit" / "request_id.py").is_file()
    # What is the service's own is as it was.
    assert "template" not in (made / "README.md").read_text().splitlines()
    assert "# template" not in (made / "src" / "notes" / "models.py").read_text()
    assert not (made / "src" / "notes" / "routes.py").exists()
    assert not (made / "src" / "sales").exists()
    assert (made / "src" / "orders.py").is_file()
    assert run(made, "git", "status", "--porcelain") == ""
    newest = run(template, "git", "rev-parse", "HEAD").strip()
    assert json.loads((made / ".template").read_text())["commit"] == newest
    assert "Nothing to do" in run(made, "make", "update")


@pytest.mark.slow
def test_a_second_update_brings_only_what_is_newer(template: Path, made: Path) -> None:
    limits = Path("src", "kit", "limits.py")
    append(template / limits, "\nFIRST = 1\n")
    commit(template)
    run(made, "make", "update")
    (made / limits).write_text((made / limits).read_text().replace("FIRST = 1", "FIRST = 100"))
    commit(made)
    prepend(template / limits, "# second\n")
    commit(template)
    run(made, "make", "update")
    assert (made / limits).read_text().startswith("# second\n")
    assert (made / limits).read_text().endswith("FIRST = 100\n")


def test_a_conflict_is_left_for_a_person_and_everything_else_is_merged(template: Path, made: Path) -> None:
    for folder, value in ((template, "template"), (made, "service")):
        prepend(folder / "src" / "kit" / "limits.py", f"# {value}\n")
        prepend(folder / "requirements.txt", f"# {value}\n")
    append(template / "src" / "kit" / "log.py", "# template\n")
    commit(template)
    commit(made)
    before = run(made, "git", "rev-parse", "HEAD")

    code, output = attempt(made, "make", "update")

    assert code != 0
    assert "  src/kit/limits.py\n" in output
    assert "Traceback" not in output
    assert "requirements.txt stays as it was" in output
    assert (made / "requirements.txt").read_text().startswith("# service\n")
    conflict = (made / "src" / "kit" / "limits.py").read_text()
    assert conflict.startswith("<<<<<<< HEAD\n# service\n=======\n# template\n>>>>>>> ")
    assert (made / "src" / "kit" / "log.py").read_text().endswith("# template\n")
    assert run(made, "git", "rev-parse", "HEAD") == before
    assert "uncommitted changes" in attempt(made, "make", "update")[1]
    # The way on that it has printed.
    (made / "src" / "kit" / "limits.py").write_text("# both\n")
    (finish,) = [line for line in output.splitlines() if line.startswith("  git add")]
    run(made, "sh", "-ec", finish)
    assert run(made, "git", "status", "--porcelain") == ""
    assert "Nothing to do" in run(made, "make", "update")


@pytest.mark.slow
def test_a_service_with_a_history_of_its_own_finds_its_template(template: Path, tmp_path: Path) -> None:
    folder = clone(template, tmp_path / "clone")
    run(folder, "rm", "-rf", ".git")
    run(folder, "git", "init", "--quiet")
    commit(folder, "Our own beginning")
    make_new(folder)
    append(template / "src" / "kit" / "limits.py", "\nTEMPLATE = 1\n")
    commit(template)
    assert "Where is the template?" in attempt(folder, "make", "update")[1]
    run(folder, "make", "update", FROM=str(template))
    assert (folder / "src" / "kit" / "limits.py").read_text().endswith("TEMPLATE = 1\n")


def test_what_it_cannot_do_it_refuses_with_a_sentence(template: Path, made: Path, tmp_path: Path) -> None:
    assert "which `make new` writes, is missing" in attempt(template, "make", "update")[1]
    missing = attempt(made, "make", "update", FROM=str(tmp_path / "missing"))
    assert missing[0] != 0
    assert "git fetch failed" in missing[1]
    other = tmp_path / "other"
    other.mkdir()
    run(other, "git", "init", "--quiet")
    (other / "file").touch()
    commit(other)
    assert "no commit in common" in attempt(made, "make", "update", FROM=str(other))[1]
    assert run(made, "git", "status", "--porcelain") == ""
