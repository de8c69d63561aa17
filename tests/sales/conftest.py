"""Which tests of the example `make test` leaves out."""

import pytest

ON_POSTGRES_TOO = ("adds_up_exactly", "same_bytes", "two_attempts", "retried_by_a_request")
"""Of the API's tests: where Postgres might do something else than SQLite."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the API's other tests on Postgres to `make test-all`."""
    for item in items:
        is_repeated = item.path.name in ("test_api.py", "test_retries.py") and "[postgres" in item.nodeid
        if is_repeated and not any(name in item.name for name in ON_POSTGRES_TOO):
            item.add_marker(pytest.mark.slow)
