"""A feature for a copy of the repository: a slow upload, and jobs that note which code they ran."""

from pathlib import Path

VERSION = "VERSION = 1\n"

JOBS = '''
import json
import multiprocessing
import time

from src.kit.queue import enqueue as job_queue
from src.kit.redis import get_redis
from src.reload.protocol import NAME_PREFIX
from src.storm.version import VERSION


def note(what, **facts):
    get_redis().rpush(f"storm:{what}", json.dumps(facts))


def run(number, seconds):
    """Note number, code and start, as Redis has it; take so many seconds; note the end."""
    started = job_queue.find_job(f"storm-{number}").started_at.timestamp()
    get_redis().set("storm:offset", time.localtime(started).tm_gmtoff)
    name = multiprocessing.current_process().name
    generation = int(name.removeprefix(NAME_PREFIX))
    note("began", number=number, version=VERSION, generation=generation, at=int(started * 1000) / 1000)
    time.sleep(seconds)
    note("ended", number=number)


def note_failure(job, connection, kind, error, trace):
    note("failed", error=f"{job.id}: {error!r}")
'''

ROUTES = """
import json

from fastapi import APIRouter, Request

from src.kit.queue import enqueue as job_queue
from src.kit.redis import get_redis
from src.storm import jobs
from src.storm.version import VERSION

router = APIRouter(prefix="/storm")


@router.get("/version")
def version() -> int:
    return VERSION


@router.post("/uploads")
async def upload(request: Request) -> int:
    return len(await request.body())


@router.post("/jobs")
def enqueue(number: int, seconds: float) -> str:
    job_id = f"storm-{number}"
    return job_queue.enqueue(jobs.run, number, seconds, job_id=job_id, on_failure=jobs.note_failure).id


@router.get("/jobs")
def noted() -> dict:
    redis = get_redis()
    lists = {what: redis.lrange(f"storm:{what}", 0, -1) for what in ("began", "ended", "failed")}
    found = {what: [json.loads(each) for each in noted] for what, noted in lists.items()}
    return found | {"offset": int(redis.get("storm:offset") or 0)}
"""


def add_to(folder: Path) -> None:
    """Add the feature to a copy of the repository, as the guide does."""
    package = folder / "src" / "storm"
    package.mkdir()
    files = {"__init__.py": "", "version.py": VERSION, "jobs.py": JOBS, "routes.py": ROUTES}
    for name, text in files.items():
        (package / name).write_text(text, "utf-8")
    main = folder / "src" / "main.py"
    lines = "\nfrom src.storm import routes as storm_routes\n\napp.include_router(storm_routes.router)\n"
    main.write_text(main.read_text("utf-8") + lines, "utf-8")
