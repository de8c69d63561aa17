"""For RQ's own commands, such as `rq info -c src.kit.queue.rq_config`: where Redis is, and jobs as JSON."""

from rq import serializers

from src.kit.production import checked_settings

settings = checked_settings()
REDIS_URL = settings.redis_url
QUEUES = list(settings.rq_queues)

# The two names of RQ's default.
serializers.PickleSerializer = serializers.JSONSerializer  # type: ignore[assignment]
serializers.DefaultSerializer = serializers.JSONSerializer  # type: ignore[assignment, misc]
