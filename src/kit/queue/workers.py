"""The workers that are registered in Redis, and newer code that the API or a worker does not run."""

import contextlib
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from src.kit.redis import REDIS_AWAY, get_redis
from src.kit.running import SRC, running_code
from src.kit.settings import get_settings
from src.reload.fingerprint import fingerprint
from src.reload.report import current_problem, is_alone

_PROBLEM = "worker-problem"


class Worker(BaseModel):
    """One worker, as registered in Redis."""

    name: str
    code: str | None = Field(description="Fingerprint of the code that it runs.", examples=["c0ffee123456"])
    loaded_at: datetime | None
    state: str = Field(description="The worker's state in RQ.", examples=["idle", "busy"])
    leaving: bool = Field(description="It takes no further job; one that it has begun it may finish.")


class CodeOnDisk(BaseModel):
    """Code on disk that the API or a worker does not run."""

    code: str = Field(description="Fingerprint of the code on disk.", examples=["c0ffee123456"])
    problem: str | None = Field(
        description="Which process can't load it and why, with file and line; null while it is being loaded.",
        examples=["API and worker: src/settings.py:12: SyntaxError: invalid syntax"],
    )


def workers() -> list[Worker]:
    """The registered workers, by name; none while Redis is away."""
    try:
        redis: Any = get_redis()
        keys = sorted(key.decode() for key in redis.smembers("rq:workers"))
        with redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            hashes = pipeline.execute()
    except REDIS_AWAY:
        return []
    decoded = ({name.decode(): value.decode() for name, value in fields.items()} for fields in hashes)
    return [
        Worker(
            name=key.removeprefix("rq:worker:"),
            code=worker.get("code"),
            loaded_at=datetime.fromisoformat(worker["loaded_at"]) if worker.get("loaded_at") else None,
            state=worker.get("state", "unknown"),
            leaving="leaving" in worker,
        )
        for key, worker in zip(keys, decoded, strict=True)
        if worker and "death" not in worker
    ]


def publish_problem(code: str, problem: str) -> None:
    """Have `/version` show why the worker can't load the code with this fingerprint; "" if it can."""
    redis = get_redis()
    redis.set(_PROBLEM, f"{code} {problem}")
    redis.connection_pool.disconnect()  # the supervisor, which calls this, rarely needs it


def newer_code(registered: list[Worker]) -> CodeOnDisk | None:
    """In development, the code on disk if the API or one of the workers does not run it, or can't load it."""
    if get_settings().environment == "production":
        return None
    code, ours = fingerprint(SRC), running_code().code
    theirs = {worker.code for worker in registered if not worker.leaving}
    problems: dict[str, list[str]] = {}
    if ours != code and (problem := current_problem(code)):
        problems[problem] = ["API"]
    with contextlib.suppress(RedisError):
        published: Any = get_redis().get(_PROBLEM) or b""
        broken, _, problem = published.decode().partition(" ")
        if broken == code and theirs != {code}:
            problems.setdefault(problem, []).append("worker")
    if not problems and {ours} | theirs == {code} and is_alone():
        return None
    said = [f"{' and '.join(names)}: {problem}" for problem, names in problems.items()]
    return CodeOnDisk(code=code, problem="; ".join(said) or None)
