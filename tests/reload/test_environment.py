"""What changes besides code: `.env`, data that the code reads, and modules that are imported late."""

import sqlite3
from pathlib import Path

import pytest

from tests.kit.repository import replace
from tests.reload.large_program import LargeProgram
from tests.reload.program import Program

pytestmark = pytest.mark.slow

GREETING = "import os\nVERSION = os.environ.get('GREETING', 'none')\n"


@pytest.fixture
def program(program: Program) -> Program:
    program.save("version.py", GREETING)
    return program


def save(program: Program, text: str) -> None:
    replace(program.folder / ".env", text)


def test_a_variable_comes_changes_and_goes_with_the_file(program: Program) -> None:
    program.start()
    program.wait_for("working", "none")
    save(program, "GREETING=hello\n")
    program.wait_for("working", "hello")
    program.wait_for("left", "none")
    program.wait_for_log("INFO Code change detected: .env")
    save(program, "GREETING=goodbye\n")
    program.wait_for("working", "goodbye")
    (program.folder / ".env").unlink()
    program.wait_for("left", "goodbye")
    assert [version for version, _ in program.said("working")] == ["none", "hello", "goodbye", "none"]


def test_later_generations_have_the_new_variables_too(program: Program) -> None:
    program.start()
    program.wait_for("working", "none")
    save(program, "GREETING=hello\n")
    program.wait_for("working", "hello")
    program.save("version.py", GREETING + "VERSION += '-2'\n")
    program.wait_for("working", "hello-2")


def test_a_variable_that_the_starter_has_passed_on_goes_with_the_file(program: Program) -> None:
    save(program, "GREETING=hello\n")
    program.start(GREETING="hello")
    program.wait_for("working", "hello")
    save(program, "OTHER=1\n")
    program.wait_for("working", "none")


def test_the_real_environment_wins_and_the_log_says_so(program: Program) -> None:
    save(program, "GREETING=hello\n")
    program.start(GREETING="real")
    program.wait_for("working", "real")
    program.wait_for_log("INFO The environment overrides .env: GREETING")
    save(program, "GREETING=goodbye\n")
    program.wait_for_log("WARNING GREETING in .env changes nothing: the environment overrides it")
    save(program, "GREETING=goodbye\nOTHER=1\n")
    program.wait_for_log("at work after", 2)
    assert {version for version, _ in program.said("working")} == {"real"}


def test_a_value_in_a_file_that_was_set_elsewhere_wins_too(program: Program) -> None:
    program.start(GREETING_FILE="/run/secrets/greeting")
    program.wait_for("working", "none")
    save(program, "GREETING=hello\n")
    program.wait_for_log("WARNING GREETING in .env changes nothing")


def test_a_default_is_replaced_and_comes_back(program: Program) -> None:
    program.start(GREETING="usual", RELOAD_ENV_DEFAULTS="GREETING=usual")
    program.wait_for("working", "usual")
    save(program, "GREETING=hello\n")
    program.wait_for("working", "hello")
    save(program, "")
    program.wait_for("left", "hello")
    assert program.said("working")[-1][0] == "usual"


def test_what_is_read_at_the_start_only_is_named_with_the_way_out(program: Program) -> None:
    program.start(RELOAD_ENV_FIXED="API_PORT OTHER")
    program.wait_for("working", "none")
    save(program, "API_PORT=8001\n")
    program.wait_for_log("WARNING API_PORT in .env is read at the start only: run `make dev` again")
    assert len(program.said("working")) == 1


@pytest.mark.parametrize("line", ["no assignment", "GREETING", "GREETING='open", "GREETING=\0"])
def test_a_broken_line_is_one_sentence_and_changes_nothing(program: Program, line: str) -> None:
    save(program, "GREETING=hello\n")
    program.start()
    program.wait_for("working", "hello")
    save(program, f"OTHER=1\n{line}\n")
    program.wait_for_log(
        "ERROR Fix .env, until then the environment stays as it is: line 2 is not NAME=value"
    )
    program.save("version.py", GREETING + "VERSION += '-2'\n")
    program.wait_for("working", "hello-2")
    assert program.log.count("Fix .env") == 1
    assert "dotenv" not in program.log
    save(program, "GREETING=fixed\n")
    program.wait_for("working", "fixed-2")


def test_a_comment_changes_nothing(program: Program) -> None:
    save(program, "GREETING=hello\n")
    program.start(RELOAD_ENV_FIXED="API_PORT")
    program.wait_for("working", "hello")
    save(program, "# a comment\nGREETING=hello # another\nAPI_PORT=1\n")
    program.wait_for_log("API_PORT in .env is read at the start only")
    assert len(program.said("working")) == 1


@pytest.mark.parametrize("name", ["data.json", "query.sql", "page.html", "prompts/say.txt", "settings.toml"])
def test_data_that_code_reads_is_a_change(program: Program, name: str) -> None:
    program.save(name, "one")
    path = program.folder / "pkg" / name
    program.save("version.py", f"from pathlib import Path\nVERSION = Path({str(path)!r}).read_text()\n")
    program.start()
    program.wait_for("working", "one")
    program.save(name, "two")
    program.wait_for("working", "two")
    program.wait_for_log(f"Code change detected: {name}")


def test_what_the_program_writes_is_no_change(program: Program) -> None:
    program.save("version.py", "VERSION = 1\n")
    program.start()
    program.wait_for("working", 1)
    package = program.folder / "pkg"
    for name in ("app.log", "photo.jpg", "logs/app.json", "uploads/2026/rows.csv", "__pycache__/main.pyc"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("written")
    with sqlite3.connect(package / "app.db") as database:
        database.execute("CREATE TABLE written (id)")
    program.save("version.py", "VERSION = 2\n")
    program.wait_for("working", 2)
    program.wait_for_log("at work after", 2)
    changes = [line for line in program.log.splitlines() if "Code change detected" in line]
    assert changes == ["INFO Code change detected: version.py"]


def test_a_module_that_is_imported_after_the_start_is_a_change(program: Program) -> None:
    main = (program.folder / "pkg" / "main.py").read_text()
    late = "    from pkg import late\n    global VERSION\n    VERSION = late.NAME\n"
    program.save("main.py", main.replace("    generation.working()\n", f"    generation.working()\n{late}"))
    program.save("version.py", "VERSION = 1\n")
    program.save("late.py", "NAME = 'one'\n")
    program.start()
    program.wait_for("working", 1)
    program.wait_for_log("at work after")
    program.save("late.py", "NAME = 'two'\n")
    program.wait_for("quiet", "one")
    program.wait_for_log("at work after", 2)
    program.save("version.py", "VERSION = 2\n")
    program.wait_for("quiet", "two")


def test_a_late_module_that_a_checkpoint_has_loaded_is_loaded_again(tmp_path: Path) -> None:
    program = LargeProgram(tmp_path)
    try:
        program.save("late.py", "NAME = 'one'\n")
        program.save_module(3, "def load():\n    from pkg import late\n    return late.NAME\nload()\n")
        program.save("version.py", "from pkg.m03 import load\nVERSION = load()\n")
        program.start()
        program.wait_for("working", "one")
        program.wait_for_checkpoints()
        program.save("late.py", "NAME = 'two'\n")
        program.wait_for("working", "two")
    finally:
        program.kill_all()
