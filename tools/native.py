"""The stack as processes of this machine: API, worker, migration and Redis, with SQLite. Runs in `.venv`."""

import contextlib
import sys
import threading
import time
import tomllib
from collections.abc import Callable

from tools import clones, pidfile, project, ready, secret_files, venv
from tools.console import ToolError, say
from tools.processes import Process, ProcessManager
from tools.redis_binary import find_redis, redis_command

_HOST = "127.0.0.1"
_LOOK_INTERVAL = 0.5  # seconds
_SQLITE = "sqlite:///data/app.db"


def main(target: str) -> int:
    """Run the stack of `make dev` or `make prod` in the foreground until it is stopped."""
    try:
        with pidfile.only_one():
            return _run(target)
    except ToolError as error:
        say(str(error), sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _run(target: str) -> int:
    environment = native_environment(target)
    port = clones.api_port(environment, target)
    # The worker and the migration get none.
    keys = {name: environment.pop(name) for name in [*environment] if name in ("API_KEYS", "API_KEYS_FILE")}
    processes = [
        Process("migrate", _python("alembic", "upgrade", "head"), one_shot=True),
        Process("worker", _python("src.rq_worker")),
        Process("api", _api_command(target, environment, port), variables=keys),
    ]
    noted = ["ENVIRONMENT"]
    if not environment.get("REDIS_URL"):
        processes.insert(0, _redis(target, environment))
        noted += ["REDIS_URL", "REDIS_PASSWORD", "REDIS_PASSWORD_FILE"]
    pidfile.note_settings({name: environment.get(name, "") for name in noted})
    if target == "prod":
        say("This tries production on one machine with SQLite; it is not a deployment, which needs Docker.")
        say("ALLOW_SQLITE=true, since everything runs on this machine. `make -s api-key` prints its API key.")
    if target == "dev":
        from src.reload import terminal

        terminal.offer(environment)
    # A running job may use all of its time.
    job_timeout = environment.get("JOB_TIMEOUT", "")
    grace = 30 + (int(job_timeout) if job_timeout.isdecimal() else 300)
    manager = ProcessManager(processes, cwd=project.ROOT, environment=environment, grace=grace)
    threading.Thread(target=ready.announce, args=(port, lambda: manager.stopping), daemon=True).start()
    if target == "dev":
        threading.Thread(target=keep_installed, args=(lambda: manager.stopping,), daemon=True).start()
    return manager.run()


def keep_installed(gone: Callable[[], bool]) -> None:
    """Install other packages as soon as `pyproject.toml` or the lock asks for them; the reload loads them.

    Args:
        gone: whether the stack has ended, which ends this.
    """
    wanted, locked = _dependencies(), venv.LOCK.read_bytes()
    while not gone():
        time.sleep(_LOOK_INTERVAL)
        with contextlib.suppress(OSError, tomllib.TOMLDecodeError):  # somebody is writing
            now, now_locked = _dependencies(), venv.LOCK.read_bytes()
            try:
                if now != wanted:
                    wanted = now
                    say("pyproject.toml asks for other packages: pinning them, and the rest stays.")
                    venv.pin()
                elif now_locked != locked:
                    locked = now_locked
                    venv.install()
                    say("Installed the packages.")
            except ToolError as error:
                say(f"{error}\nThe code that runs goes on with the packages that it has loaded.")


def _dependencies() -> list[object]:
    content = tomllib.loads((project.ROOT / "pyproject.toml").read_text("utf-8"))
    names = ("dependencies", "optional-dependencies", "requires-python")
    return [content.get("dependency-groups"), *(content.get("project", {}).get(name) for name in names)]


def native_environment(target: str) -> dict[str, str]:
    """The environment of the processes: the real one, `.env`, and what is different without Compose."""
    environment = project.environment(
        PYTHONUNBUFFERED="1",
        ENVIRONMENT="production" if target == "prod" else "development",
        RQ_WORKER_AUTORELOAD="false" if target == "prod" else "true",
        UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN="3",
        LOG_DIR="logs",
        # See src/reload/environment.py.
        RELOAD_ENV_FIXED="API_BIND API_PORT REDIS_URL RQ_WORKER_CHECK_INTERVAL RQ_WORKER_MAX_RESTARTS SERVER",
        RELOAD_ENV_DEFAULTS=f"LOG_LEVEL=debug DATABASE_URL={_SQLITE}",
    )
    if target == "dev" and not environment.get("LOG_LEVEL"):
        environment["LOG_LEVEL"] = "debug"
    if target == "prod":
        environment["ALLOW_SQLITE"] = "true"
        if not environment.get("API_KEYS"):
            environment.setdefault("API_KEYS_FILE", str(project.SECRETS / secret_files.API_KEYS))
    environment["DATABASE_URL"] = environment.get("DATABASE_URL") or _SQLITE
    return environment


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _api_command(target: str, environment: dict[str, str], port: int) -> list[str]:
    config = None
    if target == "prod":
        config = environment.get("GUNICORN_CONFIG") or "gunicorn.conf.py"
    elif environment.get("SERVER") == "gunicorn":
        config = "gunicorn.dev.conf.py"
    host = environment.get("API_BIND") or _HOST
    if config:
        return _python("gunicorn", "-c", config, "--bind", f"{host}:{port}")
    reload = ["--reload"]
    for folder in ("src", "migrations"):
        reload += ["--reload-dir", str(project.ROOT / folder)]
    address = ["--host", host, "--port", str(port)]
    # The same command line as in docker-compose.dev.yml.
    return _python("src.reload", "uvicorn", "src.main:app", *address, *reload, "--log-level", "debug")


def _redis(target: str, environment: dict[str, str]) -> Process:
    directory = project.DATA / "redis"
    directory.mkdir(exist_ok=True)
    port = clones.redis_port()
    environment["REDIS_URL"] = f"redis://{_HOST}:{port}/0"
    environment.pop("REDIS_PASSWORD", None)  # of another Redis
    environment.pop("REDIS_PASSWORD_FILE", None)
    password_file = None
    if target == "prod":
        password_file = project.SECRETS / secret_files.REDIS
        environment["REDIS_PASSWORD_FILE"] = str(password_file)
    command = redis_command(port, password_file)
    say(f"Redis: {find_redis()} on port {port}, with its data in data/redis.")
    return Process("redis", command, last=True, log=project.LOGS / "redis.log", cwd=directory)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
