"""The workers that are registered in Redis."""

from datetime import datetime

from pydantic import BaseModel, Field
from rq.utils import as_text

from src.kit.redis import REDIS_AWAY, get_redis


class Worker(BaseModel):
    """One worker, as registered in Redis."""

    name: str
    code: str | None = Field(description="Fingerprint of the code that it runs.", examples=["c0ffee123456"])
    loaded_at: datetime | None
    state: str = Field(description="The worker's state in RQ.", examples=["idle", "busy"])


def workers() -> list[Worker]:
    """The registered workers, by name; none while Redis is away."""
    try:
        redis = get_redis()
        keys = sorted(as_text(key) for key in redis.smembers("rq:workers"))
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
        )
        for key, worker in zip(keys, decoded, strict=True)
        if worker and "death" not in worker
    ]
