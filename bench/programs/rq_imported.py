"""RQ's own worker, which has imported the application once: `python -m rq_imported`."""

import os

from redis import Redis
from rq import Queue

queue = Queue("bench", connection=Redis.from_url(os.environ["REDIS_URL"]))


def main() -> None:
    """Import the application and work until stopped."""
    import app.jobs  # noqa: F401
    from rq import Worker

    Worker([queue], connection=queue.connection).work()


if __name__ == "__main__":
    main()
