"""For RQ's own commands, such as `rq info -c src.kit.queue.rq_config`: where Redis is, and jobs as JSON."""

from urllib.parse import urlencode

from rq import serializers

from src.kit.production import checked_settings
from src.kit.redis import sentinels

settings = checked_settings()
_tls = {"ssl_ca_certs": str(settings.redis_ca_file)} if settings.redis_ca_file else {}
if _behind := sentinels(settings.redis_url, _tls):
    _names = ("INSTANCES", "MASTER_NAME", "SENTINEL_KWARGS", "CONNECTION_KWARGS")
    SENTINEL = dict(zip(_names, _behind, strict=True))
else:
    REDIS_URL = settings.redis_url
    if _tls:
        REDIS_URL += f"{'&' if '?' in REDIS_URL else '?'}{urlencode(_tls)}"
QUEUES = list(settings.rq_queues)

# The two names of RQ's default.
serializers.PickleSerializer = serializers.JSONSerializer  # type: ignore[assignment]
serializers.DefaultSerializer = serializers.JSONSerializer  # type: ignore[assignment, misc]
