"""Uvicorn's own tests pass with our classes, except where `uvicorn_differences.toml` gives a reason."""

import tomllib
from pathlib import Path

import pytest

from tests.kit.upstream_suite import NotAvailable, UpstreamSuite

LISTED = tomllib.loads(Path(__file__).with_name("uvicorn_differences.toml").read_text())

SITE = Path(__file__).with_name("uvicorn_suite_site")

NEEDS = ("a2wsgi==1.10.10", "httpx==0.28.1", "pytest-mock==3.15.1", "trustme==1.2.1", "wsproto==1.3.2")
"""What the tests import, in the versions that uvicorn's own `pyproject.toml` asks for."""

OPTIONS = (
    "--timeout=30", "--timeout-method=thread",  # uvloop does not let a signal end a test that hangs
    "--ignore=tests/benchmarks",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",  # anyio is loaded before pytest, by our classes
)  # fmt: skip

PROCESSES = 4
"""Of pytest: most tests only wait."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.parametrize("loop", ["asyncio", "uvloop"]),
]


@pytest.fixture(scope="module")
def uvicorns(tmp_path_factory: pytest.TempPathFactory) -> UpstreamSuite:
    return _suite(tmp_path_factory.mktemp("uvicorn"), "uvicorn")


@pytest.fixture(scope="module")
def uvicorn_workers(tmp_path_factory: pytest.TempPathFactory) -> UpstreamSuite:
    return _suite(tmp_path_factory.mktemp("uvicorn_worker"), "uvicorn-worker", "-k", "not UvicornH11Worker")


@pytest.mark.parametrize("classes", ["reload", "production"])
def test_uvicorns_own_tests_fail_only_where_the_difference_is_listed(
    uvicorns: UpstreamSuite, classes: str, loop: str
) -> None:
    left_out = [test for when in ("always", classes, loop) for test in LISTED["left_out"].get(when, ())]
    uvicorns.assert_only_listed_fail(
        f"{classes} {loop}", LISTED[classes], left_out, own=f"own {loop}", processes=PROCESSES
    )


def test_uvicorn_workers_own_tests_fail_only_where_the_difference_is_listed(
    uvicorn_workers: UpstreamSuite, loop: str
) -> None:
    if loop == "uvloop":
        loop = "auto"  # which finds uvloop; only Gunicorn's workers use it, and not Gunicorn itself
    uvicorn_workers.assert_only_listed_fail(f"production {loop}", LISTED["worker"], own=f"own {loop}")


def _suite(folder: Path, package: str, *options: str) -> UpstreamSuite:
    try:
        return UpstreamSuite(folder, package, SITE, NEEDS, [*OPTIONS, *options])
    except NotAvailable as error:
        pytest.skip(f"the tests of {package} can't be run: {error}")
