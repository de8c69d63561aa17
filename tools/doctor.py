"""`make doctor`: what is wrong with this clone, its machine and what runs of it, each with the fix."""

import difflib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from pathlib import Path

from tools import doctor_docker, dotenv, pidfile, ports, project, ready, venv
from tools.console import Problem, ToolError, has_colors, say
from tools.doctor_docker import look, numbers, run

_COLOURS = {"FIX": 31, "note": 33, "ok": 32}
_READ_ELSEWHERE = ("COMPOSE_", "DOCKER_", "BUILDKIT_", "OTEL_", "SENTRY_", "UVICORN_", "GUNICORN_", "PYTHON")


def doctor() -> int:
    """Print a line for each check or problem; return 1 if something has to be fixed."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    signal.signal(signal.SIGALRM, _too_long)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # make doctor | head
    coloured = has_colors()
    python = str(venv.PYTHON) if venv.PYTHON.exists() else sys.executable
    levels = set()
    checks = {
        "Python and .venv": _python(), "Docker": doctor_docker.check(), "the files are yours": _writable(),
        "line endings": _line_endings(), "disk space, clock and file events": look("this clone", [python]),
        "names in .env": _names(), "values in .env": _values(), "what runs": _running(),
    }  # fmt: skip
    for name, check in checks.items():
        for problem in _found(name, check) or [Problem(name, level="ok")]:
            levels.add(problem.level)
            colour, end = (f"\033[{_COLOURS[problem.level]}m", "\033[0m") if coloured else ("", "")
            text = " ".join(f"{problem.text}{problem.fix and ': '}{problem.fix}".split())
            say(f"{colour}{problem.level:4}{end} {text}")
    return int("FIX" in levels)


def _found(name: str, check: Iterable[Problem]) -> list[Problem]:
    """What a check finds, also if it fails itself."""
    found: list[Problem] = []
    signal.alarm(20)  # seconds
    try:
        found.extend(check)  # what it finds before it fails stays
    except ToolError as error:
        text, _, fix = str(error).partition(": ")
        found.append(Problem(text, fix))
    except (OSError, ValueError, LookupError, HTTPException) as error:
        found.append(Problem(f"{name} can't be checked ({error})", "`make logs` may say why."))
    signal.alarm(0)
    return found


def _too_long(_number: int, _frame: object) -> None:
    raise TimeoutError("it takes too long")


def _python() -> Iterator[Problem]:
    (needed,) = re.findall(r'requires-python = "(.+)"', (project.ROOT / "pyproject.toml").read_text("utf-8"))
    for name, python in (("python3", sys.executable), (".venv", str(venv.PYTHON))):
        version = run(python, "--version").stdout.strip()
        if version and numbers(version) < numbers(needed):
            yield Problem(f"{name} is {version}, this needs {needed}", "install that, then remove .venv.")
    if not venv.VENV.exists():
        yield Problem("there is no .venv, which only Docker does without", "`make check` makes it.", "note")
    elif not venv.PYTHON.exists() or not venv.is_current():
        yield Problem(".venv is not what requirements-dev.txt pins", "`make check` renews it.")


def _writable() -> Iterator[Problem]:
    for top in ("src", "migrations", "logs", "data", ".env", ".venv"):
        folders = ((str(project.ROOT), [""], [top]), *os.walk(project.ROOT / top))
        for path in (Path(folder, name) for folder, _, names in folders for name in ("", *names)):
            if path.exists() and not os.access(path, os.W_OK) and path.stat().st_uid != os.geteuid():
                fix = f"sudo chown -R $(id -u):$(id -g) {top}"
                yield Problem(f"{path.relative_to(project.ROOT)} belongs to another user", fix)
                break


def _line_endings() -> Iterator[Problem]:
    patterns = ("Makefile", "Dockerfile", "docker-compose*.yml", ".env", ".ci/*", "secrets/*", "src/**/*.sh")
    files = [path for pattern in patterns for path in project.ROOT.glob(pattern) if path.is_file()]
    if names := [str(path.relative_to(project.ROOT)) for path in files if b"\r" in path.read_bytes()]:
        fix = rf"perl -pi -e 's/\r//' {' '.join(names)}"
        yield Problem(f"the lines of {', '.join(names)} end in CRLF, as on Windows", fix)


def _names() -> Iterator[Problem]:
    if not project.ENV_FILE.exists():
        yield Problem("there is no .env", "`make dev` makes it from .env.example.", "note")
    known = set(re.findall(r"(?m)^(?:# )?([A-Z0-9_]+)=", (project.ROOT / ".env.example").read_text("utf-8")))
    for path in project.ROOT.glob("docker-compose*.yml"):
        known |= set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", path.read_text("utf-8")))
    for name in dotenv.read(project.ENV_FILE):
        if name.removesuffix("_FILE") not in known and not name.startswith(_READ_ELSEWHERE):
            close = difflib.get_close_matches(name, known, 1, 0.8)
            fix = f"did you mean {close[0]}?" if close else "explain it in .env.example, or remove it."
            yield Problem(f"nothing reads {name} in .env", fix, "FIX" if close else "note")


def _values() -> Iterator[Problem]:
    values = project.environment(ENVIRONMENT="development")
    if values.get("APP_EXTRAS"):  # then the image has the packages for these
        values = {name: value for name, value in values.items() if not name.startswith(("OTEL_", "SENTRY_"))}
    if not venv.PYTHON.exists():
        yield Problem("the values in .env were not checked", "`make check` makes .venv, which can.", "note")
        return
    done = run(str(venv.PYTHON), "-m", "src.kit.production", environment=values)
    lines = done.stderr.strip().splitlines()
    for mistake in [line[2:] for line in lines if line.startswith("- ")] or lines[-1:]:
        yield Problem(mistake.rstrip("."), "correct it in .env, which .env.example explains.")


def _running() -> Iterator[Problem]:
    """What runs of this clone, or who has its port."""
    values = project.environment()
    if container := doctor_docker.container_of("fastapi"):
        outside = doctor_docker.container_of("edge") or container
        published = outside["NetworkSettings"]["Ports"].get("8000/tcp")
        values["API_PORT"] = published[0]["HostPort"] if published else ""
        if "ENVIRONMENT=development" in container["Config"]["Env"]:
            yield from look("the container", ["docker", "exec", container["Id"], "python"])
    elif pid := pidfile.running_pid():
        ask = f"import psutil; print(psutil.Process({pid}).environ().get('API_PORT', ''))"
        values["API_PORT"] = run(str(venv.PYTHON), "-c", ask).stdout.strip() or values.get("API_PORT", "")
    port = ports.api_port(values)
    if container or pid:
        yield from _answers(port)
        return
    yield Problem("nothing runs, so Redis, database, image and code were not checked", "`make dev`.", "note")
    try:
        ports.require_free(port, "dev")
    except ToolError as error:
        raise ToolError(str(error).replace("another program", _listener(port))) from None


def _listener(port: int) -> str:
    """The container or the process that listens on a port."""
    listing = ["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]
    if doctor_docker.state().level == "ok" and (names := run(*listing).stdout.split()):
        return f"the container {names[0]}"
    lines = run("lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc").stdout
    if found := re.search(r"p(\d+)\nc(.+)", lines):
        return f"{found[2]} (pid {found[1]})"
    found = re.search(r'"([^"]+)",pid=(\d+)', run("ss", "-Hltnp", f"sport = :{port}").stdout)
    return f"{found[1]} (pid {found[2]})" if found else "a program of another user"


def _answers(port: int) -> Iterator[Problem]:
    """What the API says about Redis, the database and the code."""
    from src.reload.fingerprint import fingerprint

    status, body = ready.get(port, "/health/ready")
    if status != 200:
        fix = "`make migrate`, start what is away, or correct its URL in .env."
        yield Problem(f"the API on port {port} is not ready ({json.loads(body)['detail']})", fix)
    else:
        yield Problem(f"the API on port {port}, Redis, database, migrations", level="ok")
    for _ in range(20):  # a reload may be under way
        version = json.loads(ready.get(port, "/version")[1])
        code = fingerprint(project.ROOT / "src")
        running = {"the API": version["code"]} | {each["name"]: each["code"] for each in version["workers"]}
        others = [name for name, its in running.items() if its != code]
        if len(running) > 1 and not others:
            break
        time.sleep(0.2)
    if problem := version.get("on_disk", {}).get("problem"):
        yield Problem(f"the code on disk does not load ({problem})", "correct that file.")
    elif others or len(running) == 1:
        level = "note" if others and version["environment"] == "production" else "FIX"
        text = f"the code on disk does not run in {', '.join(others) or 'any worker'}"
        yield Problem(text, "`make logs` may say why; else start the stack again.", level)
    else:
        yield Problem("the code on disk is the code that runs", level="ok")
