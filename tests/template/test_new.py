"""`make new` makes a service of a clone: renamed, without the example, in one commit."""

import re
import sys
from pathlib import Path

import pytest

from tests.template import service
from tests.template.service import NAME, SLUG, attempt, clone, commit, make_new, mentions, run

PAGES = {"DEVELOPMENT.md", "FIRST_FEATURE.md", "PRODUCTION.md", "UPDATING.md"}
RENEWED = ("src/kit/", "src/reload/", "tools/", "tests/kit/", "tests/reload/", "tests/tools/")

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
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that holds the template."""
    return service.template(tmp_path_factory.mktemp("origin") / "template")


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that `make new` has made; tests only look at it."""
    return make_new(clone(template, tmp_path_factory.mktemp("clone") / "a new service"))


def tracked(folder: Path) -> list[str]:
    return run(folder, "git", "ls-files").splitlines()


def test_one_commit_holds_it_and_the_work_tree_is_clean(made: Path) -> None:
    assert run(made, "git", "rev-list", "--count", "origin/main..HEAD").strip() == "1"
    assert run(made, "git", "status", "--porcelain") == ""
    assert run(made, "git", "worktree", "list").count("\n") == 1


def test_nothing_mentions_the_example(made: Path) -> None:
    assert mentions(made, "sales", "retail") == ""
    assert not [name for name in tracked(made) if re.search("sales|retail", name)]


def test_the_service_has_its_name_everywhere(made: Path) -> None:
    assert f'title="{NAME}"' in (made / "src" / "main.py").read_text()
    assert (made / "README.md").read_text().startswith(f"# {NAME}\n")
    assert f'name = "{SLUG}"' in (made / "pyproject.toml").read_text()
    assert f"${{APP_IMAGE:-{SLUG}}}" in (made / "docker-compose.yml").read_text()
    assert f"\nCOMPOSE_PROJECT_NAME={SLUG}\n" in (made / ".env.example").read_text()
    assert f"# via {SLUG} (pyproject.toml)" in (made / "requirements.txt").read_text()


def test_what_remains_to_own_is_small(made: Path) -> None:
    own = [name for name in tracked(made) if name.endswith(".py") and not name.startswith(RENEWED)]
    assert sum((made / name).read_bytes().count(b"\n") for name in own) <= 600
    assert {path.name for path in (made / "docs").iterdir()} == PAGES
    assert (made / "README.md").read_text().count("\n") <= 60
    top = {name.partition("/")[0] for name in tracked(made)}
    assert not top & {".ci", "bench", "template", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert not {path.name for path in (made / "tests").iterdir()} & {"sales", "template"}
    assert not (made / "template").exists()  # nor the bytecode of what has run there


def test_no_link_and_no_command_leads_to_what_has_left(made: Path) -> None:
    targets = re.findall(r"^make (\S+)", run(made, "make"), re.MULTILINE)
    assert "update" in targets
    assert not {"new", "bench"} & set(targets)
    assert "There is no command new: make lists them." in attempt(made, "make", "new", NAME=NAME)[1]
    for name in tracked(made):
        text = (made / name).read_text("utf-8")
        if name.endswith(".md"):
            for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
                assert (made / name).parent.joinpath(path).exists(), f"{name}: {path}"
        assert not re.search(r"`make bench\b", text), name


def test_the_ci_calls_the_same_commands(made: Path) -> None:
    workflow = (made / ".github" / "workflows" / "ci.yml").read_text()
    assert "make check" in workflow
    assert "make test" in workflow


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_the_locks_hold_what_is_needed_and_nothing_else(made: Path, lock: str) -> None:
    text = (made / lock).read_text()
    packages = set(re.findall(r"(?m)^([a-z0-9-]+)(?:\[[^\]]*\])?==", text))
    reasons = re.findall(r"(?m)^    #(?: via|  ) (.+)$", text)
    assert "pygal" not in packages
    assert {reason.partition("[")[0].partition(" ")[0] for reason in reasons} <= packages | {SLUG}
    assert text.count("    # via") == len(re.findall(r"(?m)^[a-z0-9]", text))
    direct = re.findall(r'(?m)^    "([a-z0-9-]+)', (made / "pyproject.toml").read_text().partition("[dep")[0])
    assert set(direct) <= packages


@pytest.mark.slow  # it makes another service
@pytest.mark.parametrize("down", ["the example's", None])
def test_a_feature_of_your_own_survives(template: Path, tmp_path: Path, down: str | None) -> None:
    folder = clone(template, tmp_path / "clone")
    versions = folder / "migrations" / "versions"
    if down:
        down = re.findall(
            r'(?m)^revision = "(.*)"', "".join(path.read_text() for path in sorted(versions.glob("*.py")))
        )[-1]
    (versions / "2026_12_01_orders.py").write_text(OWN_MIGRATION.format(down=down))
    (folder / "src" / "orders").mkdir()
    (folder / "src" / "orders" / "__init__.py").touch()
    (folder / "src" / "orders" / "routes.py").write_text(
        "from fastapi import APIRouter\n\nrouter = APIRouter()\n"
    )
    main = folder / "src" / "main.py"
    text = main.read_text().replace(
        "\nfrom src.sales", "\nfrom src.orders import routes as orders_routes\nfrom src.sales", 1
    )
    main.write_text(text.replace("    routers=[\n", "    routers=[\n        orders_routes.router,\n"))
    commit(folder)
    make_new(folder)
    service.add_environment(folder)
    (folder / "data").mkdir()
    url = f"sqlite:///{tmp_path / 'fresh.db'}"
    run(folder, ".venv/bin/python", "-m", "alembic", "upgrade", "head", DATABASE_URL=url)
    heads = run(folder, ".venv/bin/python", "-m", "alembic", "current", DATABASE_URL=url)
    assert re.findall(r"(?m)^(\w+) \(head\)$", heads) == ["0123456789ab"]
    run(folder, ".venv/bin/python", "-c", "from src.main import app; assert app.title == 'Order Service'")
    run(folder, ".venv/bin/ruff", "check", "src/main.py", "src/settings.py", "migrations")
    assert "orders_routes.router" in main.read_text()


@pytest.mark.slow  # it makes another service
def test_your_code_that_imports_the_example_is_named_and_nothing_changes(
    template: Path, tmp_path: Path
) -> None:
    folder = clone(template, tmp_path / "clone")
    (folder / "src" / "orders").mkdir()
    (folder / "src" / "orders" / "jobs.py").write_text("from src.sales import models\n")
    commit(folder)
    before = run(folder, "git", "rev-parse", "HEAD")
    code, output = attempt(folder, "make", "new", NAME=NAME, YES="1")
    assert code != 0
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
    template: Path, tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    before = run(template, "git", "rev-parse", "HEAD")
    code, output = attempt(template, sys.executable, "-m", "tools.stack", "new", **variables)
    assert code == 1
    assert message in output
    assert "Traceback" not in output
    assert run(template, "git", "rev-parse", "HEAD") == before
    assert run(template, "git", "status", "--porcelain") == ""


def test_it_refuses_uncommitted_changes_and_a_second_time(made: Path, template: Path, tmp_path: Path) -> None:
    folder = clone(template, tmp_path / "clone")
    (folder / "note.txt").touch()
    assert "uncommitted changes" in attempt(folder, "make", "new", NAME=NAME, YES="1")[1]
    (folder / "note.txt").unlink()
    (folder / ".template").write_text("{}")
    commit(folder)
    assert "`make new` was run here before" in attempt(folder, "make", "new", NAME=NAME, YES="1")[1]


@pytest.mark.slow  # it makes another service
def test_a_name_with_signs_and_accents_gives_a_plain_slug(template: Path, tmp_path: Path) -> None:
    folder = make_new(clone(template, tmp_path / "clone"), "Bob's Café & Söhne (No. 2)")
    assert 'title="Bob\'s Café & Söhne (No. 2)"' in (folder / "src" / "main.py").read_text()
    assert 'name = "bobs-cafe-sohne-no-2"' in (folder / "pyproject.toml").read_text()
    service.add_environment(folder)
    run(folder, ".venv/bin/ruff", "format", "--check", ".")
    assert "Café" in run(folder, ".venv/bin/python", "-c", "from src.main import app; print(app.title)")


@pytest.mark.slow  # it makes another service
def test_the_example_stays_if_asked_for(template: Path, tmp_path: Path) -> None:
    folder = make_new(clone(template, tmp_path / "clone"), EXAMPLE="keep")
    assert (folder / "src" / "sales" / "models.py").is_file()
    assert not (folder / "src" / "notes").exists()
    assert mentions(folder, "Sales Dashboard", "sales-dashboard") == ""
    assert f'title="{NAME}"' in (folder / "src" / "main.py").read_text()
    assert '"pygal"' in (folder / "pyproject.toml").read_text() or "pygal" not in mentions(
        folder, "import pygal"
    )
    assert "src/sales" in (folder / "README.md").read_text()


@pytest.mark.slow  # it makes another service
def test_the_data_of_the_example_is_put_aside_and_an_old_env_file_is_mentioned(
    template: Path, tmp_path: Path
) -> None:
    folder = clone(template, tmp_path / "clone")
    (folder / "data").mkdir()
    (folder / "data" / "app.db").write_text("rows")
    (folder / ".env").write_text("API_PORT=8001\n")
    output = run(folder, "make", "new", NAME=NAME, YES="1")
    assert (folder / "data" / "before-new" / "app.db").read_text() == "rows"
    assert not (folder / "data" / "app.db").exists()
    assert f"add COMPOSE_PROJECT_NAME={SLUG} to your .env" in output
    assert (folder / ".env").read_text() == "API_PORT=8001\n"


@pytest.mark.slow
@pytest.mark.parametrize("example", ["", "keep"])
def test_a_service_passes_its_checks_and_its_tests(template: Path, tmp_path: Path, example: str) -> None:
    folder = make_new(clone(template, tmp_path / "clone"), EXAMPLE=example)
    service.add_environment(folder)
    run(folder, "make", "check")
    feature = "sales" if example else "notes"
    run(folder, "make", "test", f"ARGS=tests/{feature}" if example else "ARGS=")
