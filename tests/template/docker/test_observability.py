"""What the containers of production say: JSON only, with the ids of requests, and counts in a tmpfs."""

import httpx2

from tests.conftest import wait_until
from tests.kit.production_process import parse_lines
from tests.template.docker.running import Running


def test_the_containers_write_json_and_count_requests_though_nothing_else_can_be_written(
    clone: Running,
) -> None:
    clone.make("prod", seconds=300)
    headers = {"X-Request-ID": "from-outside"}
    response = httpx2.get(f"http://127.0.0.1:{clone.port}/health/live", headers=headers)
    assert response.headers["X-Request-ID"] == "from-outside"

    def log(service: str) -> str:
        return clone.compose("logs", "--no-log-prefix", "--no-color", service, form="prod")

    wait_until(lambda: '"request_id": "from-outside"' in log("fastapi"), what="the line of the request")
    for service in ("migrate", "fastapi", "rqworker"):
        assert parse_lines(log(service)), service
    counts = clone.compose("exec", "-T", "fastapi", "sh", "-c", "ls /dev/shm/metrics-*", form="prod")
    assert "counter_" in counts
