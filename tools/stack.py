"""The commands of the Makefile, with make's variables in the environment."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from tools import (
    backup,
    docker,
    doctor,
    images,
    inside,
    pidfile,
    production,
    project,
    prompts,
    runtime,
    secret_files,
    swarm,
    tests,
    update,
    venv,
)
from tools.console import ToolError, arguments, has_colors, say


def _start(target: str, on_docker: Callable[[dict[str, str]], int]) -> int:
    server = os.environ.get("SERVER", "")
    if target == "dev" and server not in ("", "uvicorn", "gunicorn"):
        raise ToolError(f"SERVER={server} is unknown: SERVER=gunicorn, or leave it out for Uvicorn.")
    chosen = runtime.choose(os.environ)
    project.set_up()
    if target == "dev" and has_colors() and not project.environment().get("LOG_FORMAT"):
        os.environ |= {"LOG_FORMAT": "color", "UVICORN_USE_COLORS": "1"}
    if chosen == "native":
        command = [str(venv.ensure()), "-m", "tools.native", target]
        # This process becomes the process manager, so that nothing is between that and the terminal.
        os.execv(command[0], command)  # noqa: S606
    return on_docker(project.environment())


def debug() -> int:
    """Run development, and let editors attach."""
    api = os.environ.setdefault("DEBUGPY_SERVER", "127.0.0.1:5678")
    worker = os.environ.setdefault("DEBUGPY_WORKER", "127.0.0.1:5679")
    say(f"Editors can attach to the API at {api}, to the worker at {worker}: see docs/DEVELOPMENT.md.")
    return _start("dev", docker.dev)


def attach() -> int:
    """Show the prompts of the containers in this terminal."""
    if runtime.docker_problem() or (compose := docker.Compose("dev")).running() != "development":
        problem = "Nothing runs in development on Docker: start it with `make dev`"
        raise ToolError(f"{problem}. Without Docker, the terminal of `make dev` itself shows the prompts.")
    return compose.run("exec", "fastapi", "python", "-m", "src.reload.terminal")


def _on_docker(command: Callable[[], int]) -> int:
    if problem := runtime.docker_problem():
        raise ToolError(
            f"This needs Docker, and {problem}. Without Docker, all data is in data/app.db: "
            "`make down`, and copy that file."
        )
    project.set_up()
    return command()


def api_key() -> int:
    """Print the first API key and nothing else."""
    print(secret_files.api_key(project.SECRETS))
    return 0


def down() -> int:
    """Stop what runs, on Docker and natively; keep the data."""
    if pid := pidfile.running_pid():
        say("Stopping the native processes: the worker may finish its job.")
        os.kill(pid, signal.SIGTERM)
        while pidfile.running_pid():
            time.sleep(0.1)
    if runtime.docker_problem() is None:
        return docker.Compose("dev", "prod").run("down", "--remove-orphans")
    return 0


def logs() -> int:
    """Follow the log of what runs."""
    if runtime.docker_problem() is None and (compose := docker.Compose("dev", "prod")).read("ps", "--quiet"):
        return compose.run("logs", "--follow", "--tail", "100")
    files = sorted(str(path.relative_to(project.ROOT)) for path in project.LOGS.glob("*.log"))
    if not files or sys.platform == "win32":
        raise ToolError("Nothing runs: start it with `make dev`. Earlier logs, if any, are in logs/.")
    return subprocess.run(["tail", "-n", "100", "-F", *files], cwd=project.ROOT, check=False).returncode


def live() -> int:
    """Wait until the API and every worker run the code on disk; ARGS goes to `src.reload.live`."""
    command = [sys.executable, "-m", "src.reload.live", *arguments()]
    return subprocess.run(command, cwd=project.ROOT, env=project.environment(), check=False).returncode


def migration() -> int:
    """Write a migration for what has changed in the models."""
    name = os.environ.get("NAME", "").strip()
    if not name:
        raise ToolError('The migration needs a name: `make migration NAME="add a column for discounts"`.')
    if code := inside.in_stack(inside.UPGRADE, ["alembic", "revision", "--autogenerate", "-m", name]):
        return code
    return _format("migrations")  # here and not as Alembic's hook: the image in which it may run has no ruff


def db_reset() -> int:
    """Drop everything in the development database, and let the migrations make it again."""
    on_docker = inside.is_on_docker()
    running = {} if on_docker else pidfile.running_settings()
    if "production" in (running.get("ENVIRONMENT"), project.environment().get("ENVIRONMENT")):
        raise ToolError("This is production: `make db-reset` is for the database of development.")
    if sys.stdin.isatty():
        say("Delete all data of the development database? [y/N]")
        if sys.stdin.readline().strip().lower() != "y":
            raise ToolError("Nothing was deleted.")
    module = ["alembic", "-x", "reset", "upgrade", "head"]
    if code := inside.in_development(module) if on_docker else inside.natively(module):
        return code
    say("All data of the development database is gone, and the migrations have made its tables again.")
    return 0


def test_all() -> int:
    """Run all tests, or with REST=1 those that `make test` leaves out; the ones on Docker one at a time."""
    rest = os.environ.pop("REST", "") not in ("", "0")
    return tests.run("slow and not e2e" if rest else "not e2e", "e2e")


def check() -> int:
    """Check format, lint, types, the direction of imports, and the files for Docker and GitHub; all of them,
    also after a failure.
    """
    workflows = [str(path) for place in (".github", "*/*/.github") for path in project.ROOT.glob(place)]
    return max(
        _in_venv("ruff", "format", "--check", "."),
        _in_venv("ruff", "check", "."),
        _in_venv("mypy"),
        _of_venv("lint-imports", "--no-logo", "--no-cache"),
        _of_venv("hadolint", "Dockerfile") if sys.platform != "win32" else 0,  # there is none for Windows
        _of_venv("zizmor", "--offline", "--quiet", *workflows) if workflows else 0,
    )


def _format(path: str) -> int:
    """Format the code, and fix what the linter can fix."""
    return max(
        _in_venv("ruff", "check", "--fix-only", "--quiet", path), _in_venv("ruff", "format", "--quiet", path)
    )


def _in_venv(module: str, *arguments: str) -> int:
    return _run([str(venv.ensure()), "-m", module, *arguments])


def _of_venv(program: str, *arguments: str) -> int:
    python = venv.ensure()
    return _run([str(python.with_name(f"{program}{python.suffix}")), *arguments])


def _run(command: list[str]) -> int:
    return subprocess.run(command, cwd=project.ROOT, check=False).returncode


def new() -> int:
    """Turn this clone into the service NAME."""
    from template.new import new

    return new()


def lock() -> int:
    """Pin the newest allowed versions of all packages, or with ARGS=images the base images."""
    if given := arguments():
        if given != ["images"]:
            raise ToolError(
                f"ARGS={os.environ['ARGS']} is unknown: ARGS=images, or leave it out for packages."
            )
        return images.pin()
    before = _pins()
    venv.pin("--upgrade")
    now = _pins()
    changed = [name for name in sorted(before | now) if before.get(name) != now.get(name)]
    for name in changed:
        say(f"{name}  {before.get(name, 'new')} → {now.get(name, 'removed')}")
    say(
        f"{len(changed)} packages changed in requirements*.txt. `make dev` installs them, on Docker in a new "
        "image. Run `make test`, then commit pyproject.toml and requirements*.txt."
        if changed
        else "requirements*.txt have the newest allowed versions already: there is nothing to do."
    )
    return 0


def _pins() -> dict[str, str]:
    """The pinned packages and their versions."""
    text = "".join(path.read_text("utf-8") for path in sorted(project.ROOT.glob("requirements*.txt")))
    return dict(re.findall(r"(?m)^([\w.\[\]-]+)==([^ ;\\]+)", text))


COMMANDS: dict[str, Callable[[], int]] = {
    "new": new, "update": update.update,
    "deploy": partial(_on_docker, swarm.deploy), "rollback": partial(_on_docker, production.rollback),
    "backup": partial(_on_docker, backup.backup), "restore": partial(_on_docker, backup.restore),
    "backup-check": partial(_on_docker, backup.check),
    "dev": partial(_start, "dev", docker.dev), "debug": debug, "attach": attach,
    "prod": partial(_start, "prod", production.prod),
    "down": down, "logs": logs, "live": live, "doctor": doctor.doctor, "migration": migration,
    "migrate": partial(inside.in_stack, inside.UPGRADE), "db-reset": db_reset,
    "schedule": partial(inside.in_stack, ["src.kit.queue.upcoming"]),
    "shell": prompts.shell, "psql": prompts.psql, "redis-cli": prompts.redis_cli,
    "test": partial(tests.run, "not slow and not e2e"), "test-all": test_all,
    "check": check, "format": partial(_format, "."), "bench": partial(_in_venv, "bench"), "lock": lock,
    "api-key": api_key,
}  # fmt: skip


if __name__ == "__main__":  # `make update` in services of earlier versions calls `make new` by this name
    from tools.__main__ import main

    sys.exit(main())
