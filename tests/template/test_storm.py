"""200 saves in a minute on the development stack, with requests and jobs flowing all the time."""

from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from tests.kit.repository import copy_repository, share_environment
from tests.template import storm_feature
from tests.template.running import Running
from tests.template.storm import SAVES, Storm

# Of worker and API each a supervisor, resource tracker, fork server and generation; besides make, the runner
# and Redis, or the init of the worker's container.
AT_REST = {"native": 3 + 2 * 4, "docker": 1 + 2 * 4}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A copy of the repository; nothing runs yet."""
    folder = tmp_path_factory.mktemp("storm") / "tree"
    copy_repository(folder)
    share_environment(folder)
    running = Running(folder, "native")
    yield running
    running.stop()


@pytest.fixture(
    scope="module",
    params=[pytest.param("native", marks=pytest.mark.slow), pytest.param("docker", marks=pytest.mark.e2e)],
)
def storm(request: pytest.FixtureRequest) -> Storm:
    """A storm that has blown over the stack."""
    running: Running = request.getfixturevalue("native" if request.param == "native" else "clone")
    storm_feature.add_to(running.folder)
    running.start("dev", "Ready.\n")
    assert running.foreground
    roots = [running.foreground.pid]
    if request.param == "docker":
        roots = [running.containers(name)[0]["State"]["Pid"] for name in ("rqworker", "fastapi")]
        if not all(map(psutil.pid_exists, roots)):
            pytest.skip("the processes of this Docker engine cannot be seen from here")
    storm = Storm(running, roots, AT_REST[request.param])
    storm.run()
    return storm


def test_the_storm_was_one(storm: Storm) -> None:
    print(storm.figures())  # noqa: T201
    assert sum(storm.saves.values()) - storm.saves["warm-up"] == SAVES
    assert len(storm.hand_overs()) >= 10, storm.figures()


def test_no_request_failed(storm: Storm) -> None:
    failures = "\n".join(storm.failures)
    assert not failures, f"{storm.figures()}\n{failures}"


def test_no_job_was_lost_failed_or_run_twice(storm: Storm) -> None:
    enqueued = set(range(1, storm.jobs + 1))
    began, ended = Counter(each.number for each in storm.began()), Counter(storm.ended())
    assert not (lost := enqueued - began.keys()), f"never begun: {sorted(lost)}"
    assert not (lost := enqueued - ended.keys()), f"never ended: {sorted(lost)}"
    assert not (twice := [number for number, times in (began + ended).items() if times != 2]), twice
    assert not (failed := storm.failed()), failed


def test_jobs_after_a_hand_over_run_its_code(storm: Storm) -> None:
    hand_overs = storm.hand_overs()
    for job in storm.began():
        newest = max((each.generation for each in hand_overs if each.at < job.at), default=1)
        assert job.generation >= newest, f"{job} began after the hand-over to generation {newest}"


def test_what_was_saved_before_a_hand_over_began_is_in_it(storm: Storm) -> None:
    versions: dict[int, int] = {}
    for job in storm.began():
        known = versions.setdefault(job.generation, job.version)
        assert known == job.version, f"{job}, in a generation that ran version {known} before"
    for _, noticed, generation in storm.hand_overs():
        newest = max((version for at, version in storm.saved if at < noticed - 0.01), default=1)
        assert versions.get(generation, newest) >= newest, f"generation {generation} has older code"


def test_the_last_good_save_is_what_runs(storm: Storm) -> None:
    storm.running.wait_for_code(workers=1)
    running, version = storm.running.get("/storm/version"), storm.running.get("/version")
    assert running == storm.version, f"version {running} runs, {storm.version} was saved last"
    assert "on_disk" not in version, version


def test_no_process_no_descriptor_and_no_memory_is_left_over(storm: Storm) -> None:
    after = storm.settled()
    assert after.descriptors <= storm.before.descriptors, storm.figures()
    assert after.memory < storm.before.memory + 4 * MIB, storm.figures()
