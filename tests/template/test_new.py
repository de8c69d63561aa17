"""`make new` makes a service of a clone: renamed, without the example, in one commit."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.kit.repository import add_environment
from tests.template.running import attempt, refused, run
from tests.template.service import NAME, SLUG, clone, commit, make_new

PAGES = {"DEVELOPMENT.md", "FIRST_FEATURE.md", "JOBS.md", "PRODUCTION.md"}
RENEWED = ("src/kit/", "src/reload/", "tools/", "tests/kit/", "tests/reload/", "tests/tools/")
SIGNS = "Bob's Café & Söhne (No. 2)"

OWN_MIGRATION = '''"""Orders.

Revision ID: 0123456789ab
Revises: {down}
Create Date: 2026-12-01
"""

import sqlalchemy as sa
from alembic import op

revision = "0123456789ab"
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("orders", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade() -> None:
    op.drop_table("orders")
'''


@pytest.fixture(scope="module")
def kept(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that has kept the example, and whose name has accents and signs."""
    return make_new(clone(template, tmp_path_factory.mktemp("kept") / "clone"), SIGNS, EXAMPLE="keep")


def mentions(folder: Path, *words: str) -> str:
    """The tracked lines that contain one of the words, in any case."""
    return attempt(folder, "git", "grep", "-iInF", *(part for word in words for part in ("-e", word)))[1]


def test_one_commit_holds_it_and_nothing_mentions_the_example(made: Path) -> None:
    assert run(made, "git", "rev-list", "--count", "origin/main..HEAD").strip() == "1"
    assert run(made, "git", "status", "--porcelain") == ""
    assert run(made, "git", "worktree", "list").count("\n") == 1
    assert mentions(made, "sales", "retail") == ""
    assert not re.search("sales|retail", run(made, "git", "ls-files"))


def test_the_service_has_its_name_everywhere(made: Path) -> None:
    for path, text in {
        "src/main.py": f'title="{NAME}"',
        "README.md": f"# {NAME}\n",
        "pyproject.toml": f'name = "{SLUG}"',
        "docker-compose.yml": f"${{APP_IMAGE:-{SLUG}:",
        ".env.example": f"\nCOMPOSE_PROJECT_NAME={SLUG}\n",
        "requirements.txt": f"# via {SLUG} (pyproject.toml)",
    }.items():
        assert text in (made / path).read_text(), path


def test_what_remains_to_own_is_small(made: Path) -> None:
    names = run(made, "git", "ls-files").splitlines()
    own = [name for name in names if name.endswith(".py") and not name.startswith(RENEWED)]
    assert sum((made / name).read_bytes().count(b"\n") for name in own) <= 600
    assert {path.name for path in (made / "docs").iterdir()} == PAGES
    assert (made / "README.md").read_text().count("\n") <= 60
    left = {path.name for path in made.iterdir()}  # also the bytecode of what has run there
    assert not left & {".ci", "bench", "template", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert not {path.name for path in (made / "tests").iterdir()} & {"sales", "template"}
    workflow = (made / ".github" / "workflows" / "ci.yml").read_text()
    assert ("make check" in workflow, "make test" in workflow) == (True, True)


def test_a_service_has_the_actions_of_the_template_by_commit(made: Path) -> None:
    workflows = [(folder / ".github" / "workflows" / "ci.yml").read_text() for folder in (made, ROOT)]
    ours, theirs = (re.findall(r"uses: (\S+@[0-9a-f]{40}  # v.*)", workflow) for workflow in workflows)
    assert ours == theirs
    assert len(ours) == workflows[0].count("uses:") > 0


def test_no_link_and_no_command_leads_to_what_has_left(made: Path) -> None:
    targets = set(re.findall(r"^make (\S+)", run(made, "make"), re.MULTILINE))
    assert ("update" in targets, targets & {"new", "bench"}) == (True, set())
    output = refused(made, "make", "new", NAME=NAME)
    assert "This clone has already become a service.\nThere is no command new: `make` lists them." in output
    for name in run(made, "git", "ls-files").splitlines():
        if not name.endswith((".png", ".ico")):
            text = (made / name).read_text("utf-8")
            for path in re.findall(r"\]\((?!http)([^)#]+)\)", text) if name.endswith(".md") else ():
                assert (made / name).parent.joinpath(path).exists(), f"{name}: {path}"
            assert not re.search(r"`make bench\b", text), name


@pytest.mark.parametrize(
    "lock", ["requirements.txt", "requirements-tracing.txt", "requirements-debug.txt", "requirements-dev.txt"]
)
def test_the_locks_hold_what_is_needed_and_nothing_else(made: Path, lock: str) -> None:
    text = (made / lock).read_text()
    packages = set(re.findall(r"(?m)^([a-z0-9-]+)(?:\[[^\]]*\])?==", text))
    reasons = re.findall(r"(?m)^    #(?: via|  ) (.+)$", text)
    assert "pygal" not in packages
    assert {reason.partition("[")[0].partition(" ")[0] for reason in reasons} <= packages | {SLUG}
    assert text.count("    # via") == len(re.findall(r"(?m)^[a-z0-9]", text))
    direct = re.findall(
        r'(?m)^    "([a-z0-9-]+)', (made / "pyproject.toml").read_text().partition("[project.opt")[0]
    )
    assert set(direct) <= packages


@pytest.mark.slow  # it makes another service
@pytest.mark.parametrize("down", ["the example's", None])
def test_a_feature_of_yours_and_data_and_env_file_survive(
    template: Path, tmp_path: Path, down: str | None
) -> None:
    folder = clone(template, tmp_path / "clone")
    versions, orders = folder / "migrations" / "versions", folder / "src" / "orders"
    if down:
        example = "".join(path.read_text() for path in sorted(versions.glob("*.py")))
        down = re.findall(r'(?m)^revision = "(.*)"', example)[-1]
    (versions / "2026_12_01_orders.py").write_text(OWN_MIGRATION.format(down=down))
    orders.mkdir()
    (orders / "__init__.py").touch()
    (orders / "routes.py").write_text("from fastapi import APIRouter\n\nrouter = APIRouter()\n")
    main = folder / "src" / "main.py"
    added = "\nfrom src.orders import routes as orders_routes\nfrom src.sales"
    text = main.read_text().replace("\nfrom src.sales", added, 1)
    main.write_text(text.replace("    routers=[\n", "    routers=[\n        orders_routes.router,\n"))
    commit(folder)
    (folder / "data").mkdir()
    (folder / "data" / "app.db").write_text("rows")
    (folder / ".env").write_text("API_PORT=8001\n")

    output = run(folder, "make", "new", NAME=NAME, YES="1")

    assert (folder / "data" / "before-new" / "app.db").read_text() == "rows"
    assert not (folder / "data" / "app.db").exists()
    assert f"add COMPOSE_PROJECT_NAME={SLUG} to your .env" in output
    assert (folder / ".env").read_text() == "API_PORT=8001\n"
    assert "orders_routes.router" in main.read_text()
    add_environment(folder)
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    run(folder, ".venv/bin/python", "-m", "alembic", "upgrade", "head", DATABASE_URL=url)
    heads = run(folder, ".venv/bin/python", "-m", "alembic", "current", DATABASE_URL=url)
    assert re.findall(r"(?m)^(\w+) \(head\)$", heads) == ["0123456789ab"]
    run(folder, ".venv/bin/python", "-c", "from src.main import app; assert app.title == 'Order Service'")
    run(folder, ".venv/bin/ruff", "check", "src/main.py", "src/settings.py", "migrations")


@pytest.mark.slow  # it makes another service
def test_your_code_that_imports_the_example_is_named_and_nothing_changes(
    template: Path, tmp_path: Path
) -> None:
    folder = clone(template, tmp_path / "clone")
    (folder / "src" / "orders").mkdir()
    (folder / "src" / "orders" / "jobs.py").write_text("from src.sales import models\n")
    commit(folder)
    before = run(folder, "git", "rev-parse", "HEAD")
    output = refused(folder, "make", "new", NAME=NAME, YES="1")
    assert "src/orders/jobs.py imports the example" in output
    assert run(folder, "git", "rev-parse", "HEAD") == before
    assert run(folder, "git", "status", "--porcelain") == ""
    assert run(folder, "git", "worktree", "list").count("\n") == 1


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"YES": "1"}, "needs a name"),
        ({"NAME": "  ", "YES": "1"}, "needs a name"),
        ({"NAME": "Über €", "YES": "1"}, "NAME contains €"),
        ({"NAME": '"Quotes"', "YES": "1"}, 'NAME contains "'),
        ({"NAME": "12 Monkeys", "YES": "1"}, "begin it with a letter"),
        ({"NAME": "注文", "YES": "1"}, "begin it with a letter"),
        ({"NAME": "x" * 41, "YES": "1"}, "at most 40"),
        ({"NAME": NAME, "EXAMPLE": "maybe", "YES": "1"}, "EXAMPLE=maybe is unknown"),
        ({"NAME": NAME}, "YES=1 answers the question"),
        ({"NAME": NAME, "YES": "1", "PATH": "/nowhere"}, "needs git"),
    ],
)
def test_what_it_cannot_do_it_refuses_with_a_sentence(
    template: Path, variables: dict[str, str], message: str
) -> None:
    before = run(template, "git", "rev-parse", "HEAD")
    output = refused(template, sys.executable, "-m", "tools.stack", "new", **variables)
    assert message in output
    assert "Traceback" not in output
    assert run(template, "git", "rev-parse", "HEAD") == before
    assert run(template, "git", "status", "--porcelain") == ""


def test_it_refuses_uncommitted_changes_and_a_second_time(template: Path, tmp_path: Path) -> None:
    folder = clone(template, tmp_path / "clone")
    (folder / ".template").write_text("{}")
    assert "uncommitted changes" in refused(folder, "make", "new", NAME=NAME, YES="1")
    commit(folder)
    assert "`make new` was run here before" in refused(folder, "make", "new", NAME=NAME, YES="1")


@pytest.mark.slow  # it makes another service
def test_the_example_stays_if_asked_for_and_a_name_with_signs_gives_a_plain_slug(kept: Path) -> None:
    assert (kept / "src" / "sales" / "models.py").is_file()
    assert not (kept / "src" / "notes").exists()
    assert mentions(kept, "Sales Dashboard", "sales-dashboard") == ""
    assert f'title="{SIGNS}"' in (kept / "src" / "main.py").read_text()
    assert 'name = "bobs-cafe-sohne-no-2"' in (kept / "pyproject.toml").read_text()
    assert "src/sales" in (kept / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)  # more than its tests have
@pytest.mark.parametrize(("fixture", "tests"), [("made", ""), ("kept", "tests/sales")])
def test_a_service_passes_its_checks_and_its_tests(
    request: pytest.FixtureRequest, tmp_path: Path, fixture: str, tests: str
) -> None:
    folder = tmp_path / "a new service"
    shutil.copytree(request.getfixturevalue(fixture), folder)
    add_environment(folder)
    run(folder, "make", "check")
    run(folder, "make", "test", ARGS=tests)
