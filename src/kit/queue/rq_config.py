"""For RQ's own commands, such as `rq info -c src.kit.queue.rq_config`: where Redis is, and its password."""

from src.kit.settings import get_settings

REDIS_URL = get_settings().redis_url
QUEUES = list(get_settings().rq_queues)
