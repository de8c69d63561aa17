"""The workers, as they registered themselves in Redis."""

from datetime import datetime

from pydantic import BaseModel, Field
from rq.utils import as_text

from src.kit.redis import REDIS_AWAY, get_redis


class Worker(BaseModel):
    """One worker, as it registered itself in Redis."""

    name: str
    code: str | None = Field(description="Fingerprint of the code that it runs.", examples=["c0ffee123456"])
    loaded_at: datetime | None
    state: str = Field(description="RQ's state of a worker.", examples=["idle", "busy"])


def workers() -> list[Worker]:
    """The workers that are registered in Redis, by name; none while Redis is away."""
    try:
        redis = get_redis()
        keys = sorted(as_text(key) for key in redis.smembers("rq:workers"))
        with redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            hashes = pipeline.execute()
    except REDIS_AWAY:
        return []
    found = []
    for key, fields in zip(keys, hashes, strict=True):
        worker = {name.decode(): value.decode() for name, value in fields.items()}
        loaded_at = worker.get("loaded_at")
        if worker and "death" not in worker:
            found.append(
                Worker(
                    name=key.removeprefix("rq:worker:"),
                    code=worker.get("code"),
                    loaded_at=loaded_at and datetime.fromisoformat(loaded_at),
                    state=worker.get("state", "unknown"),
                )
            )
    return found
