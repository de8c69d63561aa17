"""RQ's own tests pass with our worker, except where `rq_differences.toml` gives a reason."""

import tomllib
from pathlib import Path

import pytest

from tests.kit.rq_suite import RqSuite
from tests.kit.upstream_suite import NotAvailable

LISTED = tomllib.loads(Path(__file__).with_name("rq_differences.toml").read_text())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_rqs_own_tests_fail_only_where_the_difference_is_listed(tmp_path: Path) -> None:
    try:
        suite = RqSuite(tmp_path)
    except NotAvailable as error:
        pytest.skip(f"RQ's tests can't be downloaded: {error}")
    suite.assert_only_listed_fail("RobustWorker", LISTED["differences"], LISTED["left_out"])
