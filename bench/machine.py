"""Where and with what was measured; nothing that tells whose machine it is."""

import os
import platform
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from redis import Redis

from bench.venvs import OWN, versions

PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "pydantic", "rq", "redis", "watchfiles")


@dataclass(frozen=True)
class Machine:
    """The machine, before anything is measured."""

    cores: int
    processor: str
    kernel: str
    load: float
    """Processes that wanted to run in the last minute before."""
    date: str
    redis: str = ""

    @classmethod
    def here(cls) -> "Machine":
        """This one."""
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        kernel = f"{platform.system()} {platform.release()}"
        today = datetime.now(UTC).date().isoformat()
        return cls(cores, _processor(), kernel, os.getloadavg()[0], today)

    def with_redis(self, url: str) -> "Machine":
        """The same, with the version of a Redis that runs."""
        return replace(self, redis=str(Redis.from_url(url).info("server")["redis_version"]))

    @property
    def packages(self) -> str:
        """Versions of what the application is built on."""
        found = versions(OWN / "python")
        names = ", ".join(f"{'redis-py' if name == 'redis' else name} {found[name]}" for name in PACKAGES)
        return f"Python {found['python']}, Redis {self.redis}, {names}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
