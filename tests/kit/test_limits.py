"""Each limit at a stop is shorter than the one around it, also in the rendered compose files."""

import runpy

import pytest

from src.kit import limits
from src.kit.settings import seconds
from src.settings import Settings
from tests.conftest import ROOT
from tests.kit.compose_files import FORMS, PRODUCTION_LIKE, render, services

JOB_TIMEOUT: int = Settings.model_fields["job_timeout"].default


def test_a_request_that_waits_for_everything_ends_in_time() -> None:
    database = limits.DATABASE_POOL + limits.DATABASE_ANSWER + limits.DATABASE_CONNECT
    assert database + limits.REDIS_CONNECT + limits.REDIS_ANSWER < limits.REQUEST


@pytest.mark.parametrize("form", PRODUCTION_LIKE)
def test_a_request_ends_before_gunicorn_and_gunicorn_before_its_container(form: str) -> None:
    gunicorn = runpy.run_path(str(ROOT / "gunicorn.conf.py"))
    assert gunicorn["timeout"] == limits.REQUEST
    grace = seconds(services(form)["fastapi"]["stop_grace_period"])
    assert limits.REQUEST < gunicorn["graceful_timeout"] < grace


@pytest.mark.parametrize("form", PRODUCTION_LIKE)
def test_a_job_ends_before_its_worker_and_the_worker_before_its_container(form: str) -> None:
    grace = seconds(services(form)["rqworker"]["stop_grace_period"])
    assert JOB_TIMEOUT < limits.worker_stop(grace) < grace


@pytest.mark.parametrize("form", PRODUCTION_LIKE)
def test_the_worker_knows_the_grace_period_of_its_container(form: str) -> None:
    for variables in ({}, {"WORKER_STOP_GRACE_PERIOD": "1h10m"}):
        worker = render(form, **variables)["services"]["rqworker"]
        known = worker["environment"]["WORKER_STOP_GRACE_PERIOD"]
        assert seconds(known) == seconds(worker["stop_grace_period"])


@pytest.mark.parametrize("form", FORMS)
def test_a_longer_job_timeout_reaches_the_worker_and_the_api(form: str) -> None:
    for name in ("fastapi", "rqworker"):
        environment = render(form, JOB_TIMEOUT="3600")["services"][name]["environment"]
        assert environment["JOB_TIMEOUT"] == "3600"


def test_a_job_timeout_beyond_the_grace_period_is_a_problem_that_says_what_to_do() -> None:
    assert limits.job_timeout_problem(300, 330) is None
    assert limits.job_timeout_problem(300, None) is None
    problem = limits.job_timeout_problem(3600, 330)
    assert problem
    assert "WORKER_STOP_GRACE_PERIOD=3630s" in problem
    assert limits.job_timeout_problem(3600, 3630) is None


@pytest.mark.parametrize("processes", [1, 2, 5, 9, 33])
@pytest.mark.parametrize("workers", [0, 3, 10])
def test_old_and_new_processes_fit_side_by_side_into_the_shipped_postgres(
    processes: int, workers: int
) -> None:
    settings = Settings(database_max_connections=300, web_concurrency=processes, worker_replicas=workers)
    pool = limits.pool_size(settings)
    both = 2 * (processes * pool + workers * limits.WORKER_CONNECTIONS)
    assert both + limits.OTHER_CONNECTIONS <= 300
    assert limits.SMALLEST_POOL <= pool <= limits.POOL_SIZE
    assert limits.connections_problem(settings) is None


def test_replicas_share_the_connections_unless_the_size_is_set() -> None:
    one, two = (Settings(web_concurrency=5, api_replicas=number) for number in (1, 2))
    assert limits.pool_size(one) > limits.pool_size(two)
    assert limits.pool_size(two.model_copy(update={"database_pool_size": 9})) == 9


def test_the_connections_that_postgres_would_refuse_are_a_problem_that_says_what_to_do() -> None:
    settings = Settings(web_concurrency=9, database_pool_size=15)
    problem = limits.connections_problem(settings)
    assert problem
    assert "DATABASE_MAX_CONNECTIONS=151" in problem
    assert limits.connections_problem(settings.model_copy(update={"database_max_connections": 151})) is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("variables", "most"), [({}, "300"), ({"DATABASE_MAX_CONNECTIONS": "500"}, "500")])
def test_postgres_accepts_what_the_api_divides(form: str, variables: dict[str, str], most: str) -> None:
    found = render(form, **variables)["services"]
    assert found["postgres"]["command"][-1].endswith(f" postgres -c max_connections={most}\n")
    for name in ("fastapi", "rqworker"):
        assert found[name]["environment"]["DATABASE_MAX_CONNECTIONS"] == most


@pytest.mark.parametrize(("text", "expected"), [("330s", 330), ("5m30s", 330), ("1h", 3600), ("1h5m", 3900)])
def test_durations_are_read_as_compose_reads_them(text: str, expected: int) -> None:
    assert Settings.model_validate({"worker_stop_grace_period": text}).worker_stop_grace_period == expected


@pytest.mark.parametrize("text", ["soon", "330", "-1s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 330s"):
        Settings.model_validate({"worker_stop_grace_period": text})
