"""What has to hold after a storm of saves, wherever the stack runs."""

from collections import Counter

from tests.template.storm import SAVES, Storm

MIB = 1024 * 1024


class Claims:
    """What has to hold after a storm: the tests of a module whose fixture `storm` has let one blow."""

    def test_the_storm_was_one(self, storm: Storm) -> None:
        print(storm.figures())  # noqa: T201
        assert sum(storm.saves.values()) - storm.saves["warm-up"] == SAVES
        assert len(storm.hand_overs()) >= 10, storm.figures()

    def test_no_request_failed(self, storm: Storm) -> None:
        failures = "\n".join(storm.failures)
        assert not failures, f"{storm.figures()}\n{failures}"

    def test_no_job_was_lost_failed_or_run_twice(self, storm: Storm) -> None:
        enqueued = set(range(1, storm.jobs + 1))
        began, ended = Counter(each.number for each in storm.began()), Counter(storm.ended())
        assert not (lost := enqueued - began.keys()), f"never begun: {sorted(lost)}"
        assert not (lost := enqueued - ended.keys()), f"never ended: {sorted(lost)}"
        assert not (twice := [number for number, times in (began + ended).items() if times != 2]), twice
        assert not (failed := storm.failed()), failed

    def test_jobs_after_a_hand_over_run_its_code(self, storm: Storm) -> None:
        hand_overs = storm.hand_overs()
        for job in storm.began():
            newest = max((each.generation for each in hand_overs if each.at < job.at), default=1)
            assert job.generation >= newest, f"{job} began after the hand-over to generation {newest}"

    def test_what_was_saved_before_a_hand_over_began_is_in_it(self, storm: Storm) -> None:
        versions: dict[int, int] = {}
        for job in storm.began():
            known = versions.setdefault(job.generation, job.version)
            assert known == job.version, f"{job}, in a generation that ran version {known} before"
        for _, noticed, generation in storm.hand_overs():
            newest = max((version for at, version in storm.saved if at < noticed - 0.01), default=1)
            assert versions.get(generation, newest) >= newest, f"generation {generation} has older code"

    def test_the_last_good_save_is_what_runs(self, storm: Storm) -> None:
        storm.wait_for_last_save()
        running, version = storm.get("/storm/version"), storm.get("/version")
        assert running == storm.version, f"version {running} runs, {storm.version} was saved last"
        assert "on_disk" not in version, version

    def test_no_process_and_no_descriptor_is_left_over(self, storm: Storm) -> None:
        assert storm.before
        after = storm.settled()
        assert after.descriptors <= storm.before.descriptors, storm.figures()

    def test_the_memory_of_the_supervisors_is_flat(self, storm: Storm) -> None:
        assert storm.before
        assert storm.measure().memory < storm.before.memory + 4 * MIB, storm.figures()
