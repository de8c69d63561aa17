"""Prompts in the stack: Python, psql and redis-cli. ARGS goes to them; they also work without a terminal."""

import shutil
import subprocess
import sys

from tools import inside, project, venv
from tools.console import ToolError, arguments


def shell() -> int:
    """Open a Python prompt with a database session."""
    return inside.in_stack(["src.kit.shell", *arguments()])


def psql() -> int:
    """Open psql in the stack's Postgres, or natively the prompt of SQLite."""
    if inside.is_on_docker():
        return inside.execute("postgres", "psql", "-U", "app", "-d", "app", *arguments())
    url = project.environment().get("DATABASE_URL") or "sqlite:///data/app.db"
    if not url.startswith("sqlite:///"):
        raise ToolError("DATABASE_URL names a database of your own: open it with its own program.")
    file = project.ROOT / url.removeprefix("sqlite:///")
    given = arguments()
    given = given[given[:1] == ["-c"] :]  # psql's option, for which sqlite3 has no name
    program = ["sqlite3"]
    if not shutil.which("sqlite3"):
        program = [str(venv.ensure()), "-m", "sqlite3"]
        if subprocess.run([program[0], "-c", "import sqlite3.__main__"], capture_output=True).returncode:
            raise ToolError(f"The data is SQLite, in {file}: install sqlite3, or use Python 3.12 or newer.")
        if not given and not sys.stdin.isatty():
            given = [sys.stdin.read()]  # it would ignore a statement without a semicolon
    print(f"Without Docker the data is SQLite: {' '.join(program)} {file}", file=sys.stderr)
    return subprocess.run([*program, str(file), *given], check=False).returncode


def redis_cli() -> int:
    """Open redis-cli in the stack's Redis."""
    if not inside.is_on_docker():
        return inside.natively(["tools.redis_binary", *arguments()])
    script = 'export REDISCLI_AUTH="$(cat /run/secrets/redis_password)"; exec redis-cli "$@"'
    return inside.execute("redis", "sh", "-c", script, "redis-cli", *arguments())
