"""`make update` merges what is new in the template into a service, and keeps what was changed there."""

import json
import shutil
from pathlib import Path

import pytest

from tests.template.running import refused, run
from tests.template.service import clone, commit, make_new

pytestmark = pytest.mark.slow  # it makes services, and merges the template into them

LIMITS = "src/kit/limits.py"


@pytest.fixture
def changed(template: Path, tmp_path: Path) -> Path:
    """The template, for this test to change."""
    return clone(template, tmp_path / "template")


@pytest.fixture
def owned(made: Path, template: Path, changed: Path, tmp_path: Path) -> Path:
    """The service, whose template is the one of this test."""
    folder = tmp_path / "service"
    shutil.copytree(made, folder)
    record = folder / ".template"
    record.write_text(record.read_text().replace(str(template), str(changed)))
    commit(folder)
    return folder


def append(folder: Path, *names: str, text: str = "# template\n") -> None:
    for name in names:
        (folder / name).write_text((folder / name).read_text() + text)


def prepend(folder: Path, *names: str, text: str = "# service\n") -> None:
    for name in names:
        (folder / name).write_text(text + (folder / name).read_text())


def test_both_sides_changes_are_there_afterwards(changed: Path, owned: Path) -> None:
    # In the template: changed, new, deleted and moved files, a name, and what belongs to the service.
    workflow, notes = ".github/workflows/ci.yml", "src/notes/models.py"
    shared = (LIMITS, "pyproject.toml", "docker-compose.yml")
    append(changed, *shared, "README.md", "src/sales/models.py", "src/kit/running.py")
    append(changed, f"template/service/{notes}", f"template/service/{workflow}")
    append(changed, "docker-compose.yml", text="# sales-dashboard\n")
    (changed / "src/kit/added.py").write_text("ADDED = 1\n")
    (changed / "tests/kit/test_added.py").write_text("# added\n")
    (changed / "tools/processes.py").rename(changed / "tools/process_manager.py")
    (changed / "tests/tools/test_swarm.py").unlink()
    (changed / "src/kit/request_id.py").unlink()
    commit(changed, "What is new")
    # In the service: the same files elsewhere, and files of its own.
    prepend(owned, *shared, "README.md", "tools/processes.py", "src/kit/request_id.py")
    (owned / "src/kit/running.py").unlink()
    (owned / "src/notes/routes.py").unlink()
    (owned / "src/orders.py").write_text("OWN = 1\n")
    commit(owned, "Our own")

    output = run(owned, "make", "update")

    for name in shared:
        text = (owned / name).read_text()
        assert text.startswith("# service\n"), name
        assert text.removesuffix("# order-service\n").endswith("# template\n"), name
    assert (owned / "docker-compose.yml").read_text().endswith("# order-service\n")
    assert (owned / workflow).read_text().endswith("# template\n")
    assert (owned / "src/kit/added.py").is_file()
    assert (owned / "tests/kit/test_added.py").is_file()
    assert (owned / "tools/process_manager.py").read_text().startswith("# service\n")
    assert not (owned / "tools/processes.py").exists()
    assert not (owned / "tests/tools/test_swarm.py").exists()
    assert "src/kit/running.py stays deleted" in output
    assert not (owned / "src/kit/running.py").exists()
    assert "src/kit/request_id.py stays, since you have changed it" in output
    assert (owned / "src/kit/request_id.py").is_file()
    # What is the service's own is as it was.
    assert "# template" not in (owned / "README.md").read_text() + (owned / notes).read_text()
    assert not (owned / "src/notes/routes.py").exists()
    assert not (owned / "src/sales").exists()
    assert (owned / "src/orders.py").is_file()
    assert run(owned, "git", "status", "--porcelain") == ""
    newest = run(changed, "git", "rev-parse", "HEAD").strip()
    assert json.loads((owned / ".template").read_text())["commit"] == newest
    assert "Nothing to do" in run(owned, "make", "update")


def test_a_second_update_brings_only_what_is_newer(changed: Path, owned: Path) -> None:
    append(changed, LIMITS, text="\nFIRST = 1\n")
    commit(changed)
    run(owned, "make", "update")
    limits = owned / LIMITS
    limits.write_text(limits.read_text().replace("FIRST = 1", "FIRST = 100"))
    commit(owned)
    prepend(changed, LIMITS, text="# second\n")
    commit(changed)
    run(owned, "make", "update")
    assert limits.read_text().startswith("# second\n")
    assert limits.read_text().endswith("FIRST = 100\n")


def test_a_conflict_is_left_for_a_person_and_everything_else_is_merged(changed: Path, owned: Path) -> None:
    prepend(changed, LIMITS, "requirements.txt", text="# template\n")
    append(changed, "src/kit/log.py")
    commit(changed)
    prepend(owned, LIMITS, "requirements.txt")
    commit(owned)
    before = run(owned, "git", "rev-parse", "HEAD")

    output = refused(owned, "make", "update")

    assert f"  {LIMITS}\n" in output
    assert "Traceback" not in output
    assert "requirements.txt stays as it was" in output
    assert (owned / "requirements.txt").read_text().startswith("# service\n")
    conflict = "<<<<<<< HEAD\n# service\n=======\n# template\n>>>>>>> "
    assert (owned / LIMITS).read_text().startswith(conflict)
    assert (owned / "src/kit/log.py").read_text().endswith("# template\n")
    assert run(owned, "git", "rev-parse", "HEAD") == before
    assert "uncommitted changes" in refused(owned, "make", "update")
    # The way on that it has printed.
    (owned / LIMITS).write_text("# both\n")
    (finish,) = [line for line in output.splitlines() if line.startswith("  git add")]
    run(owned, "sh", "-ec", finish)
    assert run(owned, "git", "status", "--porcelain") == ""
    assert "Nothing to do" in run(owned, "make", "update")


def test_a_service_with_a_history_of_its_own_finds_its_template(changed: Path, tmp_path: Path) -> None:
    folder = clone(changed, tmp_path / "clone")
    shutil.rmtree(folder / ".git")
    run(folder, "git", "init", "--quiet")
    commit(folder, "Our own beginning")
    make_new(folder)
    append(changed, LIMITS)
    commit(changed)
    assert "Where is the template?" in refused(folder, "make", "update")
    run(folder, "make", "update", FROM=str(changed))
    assert (folder / LIMITS).read_text().endswith("# template\n")


def test_what_it_cannot_do_it_refuses_with_a_sentence(changed: Path, owned: Path, tmp_path: Path) -> None:
    assert ".template is missing or damaged: restore it, or" in refused(changed, "make", "update")
    assert "git fetch failed" in refused(owned, "make", "update", FROM=str(tmp_path / "missing"))
    other = tmp_path / "other"
    other.mkdir()
    run(other, "git", "init", "--quiet")
    (other / "file").touch()
    commit(other)
    assert "no commit in common" in refused(owned, "make", "update", FROM=str(other))
    assert run(owned, "git", "status", "--porcelain") == ""
