"""A feature whose route and job stop at a breakpoint, for copies of the repository."""

from pathlib import Path

from tests.kit.repository import replace

ROUTES = """
from typing import Any
from fastapi import APIRouter
from src.kit.queue.enqueue import enqueue, find_job
from src.probe.jobs import add

router = APIRouter(prefix="/probe")

@router.get("/route")
def route() -> int:
    value = 41
    {breakpoint}
    return value + {version}

@router.get("/coroutine")
async def coroutine() -> int:
    import pdb
    value = 50
    {set_trace}
    return value + {version}

@router.post("/jobs/{{number}}")
def start(number: int) -> str:
    return enqueue(add, number).id

@router.get("/jobs/{{job_id}}")
def look(job_id: str) -> Any:
    job = find_job(job_id)
    return job.return_value()
"""

JOBS = """
def add(number):
    result = number + {version}
    {breakpoint}
    return result
"""


def save(folder: Path, version: int = 1, *, is_stopping: bool = True) -> None:
    """Save the feature: the route answers 41 + version, the coroutine 50 + version, jobs add the version.

    Args:
        folder: the copy.
        version: what is added.
        is_stopping: whether the code has breakpoints; otherwise an editor sets them.
    """
    lines = ("breakpoint()", "pdb.set_trace()") if is_stopping else ("pass", "pass")
    names = {"version": version, "breakpoint": lines[0], "set_trace": lines[1]}
    probe = folder / "src" / "probe"
    if not probe.exists():
        probe.mkdir()
        (probe / "__init__.py").touch()
        main = folder / "src" / "main.py"
        text = main.read_text().replace("routers=[", "routers=[\n        probe_routes.router,")
        main.write_text(text.replace("\n\napp =", "\nfrom src.probe import routes as probe_routes\n\napp ="))
    for name, code in (("jobs", JOBS), ("routes", ROUTES)):
        replace(probe / f"{name}.py", code.format(**names))


def line(folder: Path, name: str, text: str) -> tuple[Path, int]:
    """The file of the feature, and the number of the line that starts with a text."""
    path = folder / "src" / "probe" / f"{name}.py"
    lines = path.read_text().splitlines()
    return path, 1 + next(n for n, each in enumerate(lines) if each.strip().startswith(text))
