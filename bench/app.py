"""The application that everybody runs: 150 modules or more that import each other, made from nothing."""

import shutil
from pathlib import Path

MODULES = 150
PROGRAMS = Path(__file__).with_name("programs")

_HEAD = '''"""Module {number} of the generated application."""

import logging
{imports}

logger = logging.getLogger(__name__)
VERSION = max([{version}{versions}])


def total_{number}(values: list[int]) -> int:
    """Add up, with what other modules say."""
    return sum(values) + {number}{calls}
'''

_ROUTES = """

class Order{number}(BaseModel):
    name: str = Field(min_length=1)
    amount: float = 0
    tags: list[str] = []


router = APIRouter(prefix="/m{number}")


@router.get("/orders/{{order_id}}")
def read_order(order_id: int) -> Order{number}:
    return Order{number}(name=str(order_id), amount=total_{number}([order_id]))


@router.post("/orders")
def write_order(order: Order{number}) -> Order{number}:
    return order
"""

_TABLE = """

class Row{number}(Base):
    __tablename__ = "rows_{number}"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), index=True)
    amount: Mapped[float]
    note: Mapped[str | None]


def newest() -> Select[tuple[Row{number}]]:
    return select(Row{number}).order_by(Row{number}.id.desc()).limit(10)
"""

_SCHEMAS = """

class Line{number}(BaseModel):
    sku: str
    quantity: int = Field(ge=1, default=1)


class Basket{number}(BaseModel):
    lines: list[Line{number}] = []
    coupon: str | None = None

    def quantity(self) -> int:
        return total_{number}([line.quantity for line in self.lines])
"""

_PLAIN = """

@dataclass
class Point{number}:
    x: int = 0
    y: int = 0

    def scaled(self, factor: int) -> "Point{number}":
        return Point{number}(self.x * factor, self.y * factor)


def table(points: list[Point{number}]) -> str:
    return json.dumps([[point.x, point.y] for point in points])
"""

_JOBS = """

def enqueue_{number}(queue: Queue, values: list[int]) -> Job:
    return queue.enqueue(total_{number}, values, retry=Retry(max=3))
"""

_TABLE_IMPORTS = """from app.base import Base
from sqlalchemy import Select, String, select
from sqlalchemy.orm import Mapped, mapped_column"""

_KINDS = (
    (_ROUTES, "from fastapi import APIRouter\nfrom pydantic import BaseModel, Field"),
    (_TABLE, _TABLE_IMPORTS),
    (_SCHEMAS, "from pydantic import BaseModel, Field"),
    (_PLAIN, "import json\nfrom dataclasses import dataclass"),
    (_JOBS, "from rq import Queue, Retry\nfrom rq.job import Job"),
)

_BASE = """from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass
"""

_JOB = """import os
import time

from redis import Redis

{imports}

redis = Redis.from_url(os.environ["REDIS_URL"])


def note(number: int, pause: float = 0.005) -> None:
    began = time.time()
    redis.rpush("bench:began", f"{{number}} {{V}} {{began}}")
    time.sleep(pause)
    redis.rpush("bench:ended", number)
"""

_MAIN = """from fastapi import FastAPI

{imports}

app = FastAPI()
for module in ({routers}):
    app.include_router(module.router)
VERSION = V + sum(module.VERSION for module in ({modules}))


@app.get("/version")
def version() -> dict[str, int]:
    return {{"version": VERSION}}
"""


def generate(directory: Path, modules: int = MODULES) -> Path:
    """Write the application and the programs that run it into `directory`; return the watched folder."""
    package = directory / "app"
    package.mkdir(parents=True)
    for number in range(modules):
        save_module(package, number, 0)
    names = [f"m{number:03}" for number in range(modules)]
    # What changes is imported half-way: who imports everything in each job may be past it when it is saved.
    first, second = (", ".join(half) for half in (names[: modules // 2], names[modules // 2 :]))
    imports = f"from app import {first}\nfrom app.version import V\nfrom app import {second}"
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text(_BASE)
    (package / "jobs.py").write_text(_JOB.format(imports=imports))
    routers = ", ".join(names[:: len(_KINDS)])
    (package / "main.py").write_text(_MAIN.format(imports=imports, routers=routers, modules=", ".join(names)))
    save(package, 0)
    # taskiq reloads for every file that this does not name, compiled ones included.
    (directory / ".gitignore").write_text("__pycache__/\n")
    for program in PROGRAMS.glob("*.py"):
        shutil.copy(program, directory)
    return package


def save(package: Path, version: int) -> None:
    """Save new code, each time of another length: Python's own cache trusts second and size."""
    (package / "version.py").write_text(f"V = {version}\n" + "#" * (version % 7) + "\n")


def save_module(package: Path, number: int, version: int) -> None:
    """Save new code in one of the modules, with a higher version than before.

    Whatever imports it has this version, too. The application answers with the sum of all.
    """
    text = _module(number, version) + "#" * (version % 7) + "\n"
    (package / f"m{number:03}.py").write_text(text)


def plain_tree(directory: Path, files: int) -> None:
    """Write so many small modules, 50 a folder."""
    for number in range(files):
        if number % 50 == 0:
            folder = directory / f"package{number // 50}"
            folder.mkdir(parents=True)
        (folder / f"module{number}.py").write_text(f"x = {number}\n" * 20)


def is_table(number: int) -> bool:
    """Whether a module has a table of the database."""
    return _KINDS[number % len(_KINDS)][0] == _TABLE


def imported(number: int) -> list[int]:
    """The modules that one imports: the one before, and others far away; one with a table imports none."""
    return [] if is_table(number) else sorted({number - 1, number * 4 // 5, number // 3} - {number, -1})


def dependents(number: int, modules: int) -> set[int]:
    """A module, and all of so many modules that import it, directly or not."""
    found = {number}
    for other in range(number + 1, modules):
        if not found.isdisjoint(imported(other)):
            found.add(other)
    return found


def _module(number: int, version: int) -> str:
    body, imports = _KINDS[number % len(_KINDS)]
    others = imported(number)
    imports += "".join(
        f"\nfrom app.m{other:03} import VERSION as VERSION_{other}, total_{other}" for other in others
    )
    versions = "".join(f", VERSION_{other}" for other in others)
    calls = "".join(f" + total_{other}(values[1:] and [])" for other in others if other == number // 3)
    return (_HEAD + body).format(
        number=number, version=version, versions=versions, imports=imports, calls=calls
    )
