"""RQ's own tests: each process of pytest has a Redis of its own, most of RQ's slow tests only wait."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.kit.redis_server import running_redis
from tests.kit.upstream_suite import UpstreamSuite

SPARE = 3
"""Further Redis servers, for processes that take the place of those that a test ends."""


class RqSuite(UpstreamSuite):
    """The tests of RQ; `RobustWorker` is the class that replaces one of its own, `Worker`."""

    def __init__(self, folder: Path) -> None:
        """Download them, see `UpstreamSuite`."""
        super().__init__(folder, "rq", Path(__file__).with_name("rq_suite_site"))

    @contextmanager
    def environment(self, run: Path, processes: int) -> Iterator[dict[str, str]]:
        """Run the Redis servers."""
        with ExitStack() as stack:
            environment = stack.enter_context(super().environment(run, processes))
            environment["RUN_SLOW_TESTS_TOO"] = "1"
            for number in range(processes + SPARE):
                (run / f"gw{number}").mkdir()
                url = stack.enter_context(running_redis(run / f"gw{number}"))
                environment[f"SUITE_REDIS_PORT_OF_GW{number}"] = url.rpartition(":")[2].partition("/")[0]
            yield environment
