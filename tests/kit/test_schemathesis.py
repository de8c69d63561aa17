"""The API does what its OpenAPI schema says, except where `tests/schemathesis.toml` gives a reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from tests.conftest import ROOT, empty_database
from tests.kit.hostile_server import FAULTS
from tests.kit.production_process import KEY, running_api
from tests.kit.services import running_worker


@pytest.mark.slow  # a thousand requests
@pytest.mark.parametrize(
    ("database", "keys"),
    [("sqlite", ""), pytest.param("postgres", KEY, marks=pytest.mark.postgres)],
    ids=["without keys", "with keys"],
)
def test_schemathesis_finds_nothing_that_is_not_listed(
    request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, database: str, keys: str
) -> None:
    url = empty_database(database, request, tmp_path)
    environment = os.environ | {"REDIS_URL": redis_url, "DATABASE_URL": url, "API_KEYS": keys}
    # A check tries wrong keys on each operation; what is not a number does not count them.
    Redis.from_url(redis_url).set("wrong-keys:127.0.0.1", "any number")
    with running_worker(environment), running_api(tmp_path, environment, 2) as api:
        command = [str(Path(sys.executable).with_name("schemathesis")), "--no-color"]
        command += ["--config-file", str(ROOT / "tests" / "schemathesis.toml"), "run", "--checks", "all"]
        command += [f"{api.url}/openapi.json", "--header", f"X-API-Key: {KEY}"]
        hooks = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=hooks, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Stateful (in" in done.stdout, "it has run to its last phase"
    assert not FAULTS.search(log := api.output.read_text()), log
