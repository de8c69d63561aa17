"""The bench counts right what it cannot see happen on a good day."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import app, measure_scale, report, sales_file
from bench.machine import Machine
from bench.measure_worker import Began, tally
from bench.peers import APIS, JOBS, WORKERS
from bench.plan import QUICK, SCALE
from bench.processes import cpu_seconds, memory, running
from bench.results import ApiResult, JobsResult, Results, ScaleResult, WatchResult, WorkerResult
from bench.stats import p95
from tests.kit.services import wait_until


def test_p95_is_a_value_that_95_of_100_do_not_exceed() -> None:
    assert p95([*range(1, 101)]) == 95
    assert p95([3, 1, 2]) == 3


def test_jobs_are_lost_failed_or_run_twice() -> None:
    result = WorkerResult(WORKERS[0])
    began = [Began(1, 1, 0.1), Began(2, 1, 0.2), Began(2, 1, 0.3), Began(3, 1, 0.4)]
    tally(result, {1, 2, 3, 4, 5}, began, ended={1, 2}, failed={5})
    assert (result.asked, result.lost, result.failed, result.twice) == (5, 1, 2, 1)


def test_a_job_on_old_code_after_one_on_new_code_counts() -> None:
    result = WorkerResult(WORKERS[0])
    tally(result, {1, 2, 3}, [Began(1, 2, 0.2), Began(2, 1, 0.1), Began(3, 1, 0.3)], {1, 2, 3}, set())
    assert result.stale == 1


def test_every_module_of_the_application_is_valid(tmp_path: Path) -> None:
    package = app.generate(tmp_path / "tree")
    modules = [*package.glob("m[0-9]*.py")]
    assert len(modules) == app.MODULES
    for module in package.glob("*.py"):
        compile(module.read_text(), module.name, "exec")


def test_the_page_names_who_was_left_out_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUIDE", "WORKER_PICTURE", "API_PICTURE"):
        monkeypatch.setattr(report, name, tmp_path / name)
    monkeypatch.setattr(report, "ROOT", tmp_path)
    ours = WorkerResult(WORKERS[0], seconds=[0.1, 0.2, 0.3], asked=9)
    left_out = ApiResult(APIS[0], problem="needs Python 3.99")
    watcher = WatchResult("a watcher", "ours", cpu={150: 0.123})
    results = Results([ours], [left_out], [watcher], [JobsResult(JOBS[0], [50.0], [0.002])])
    report.write(results, Machine(2, "a processor", "a kernel", 0.5, "2026-01-01", "8.0.0"), QUICK)
    page = (tmp_path / "GUIDE").read_text()
    assert "| 200 ms | 300 ms | 1.0x |" in page
    assert "left out: needs Python 3.99" in page
    assert "| 0.12 | – |" in page  # noqa: RUF001
    assert "100 ms" not in page
    assert "200 ms" in (tmp_path / "WORKER_PICTURE").read_text()


@pytest.mark.parametrize("begins", report.SECTIONS)
def test_a_section_is_renewed_alone(begins: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "GUIDE", tmp_path / "guide")
    others = [f"{each}\nOld.\n" for each in report.SECTIONS if each != begins]
    report.GUIDE.write_text("\n".join(["# Benchmarks\n\nReload.\n", *others]))
    for text in ("Old.", "New."):
        report.write_section(f"{begins}\n{text}\n\n")
    sections = [f"{each}\n{'New.' if each == begins else 'Old.'}\n" for each in report.SECTIONS]
    assert report.GUIDE.read_text() == "\n".join(["# Benchmarks\n\nReload.\n", *sections])


@pytest.mark.parametrize("modules", SCALE.sizes)
def test_modules_depend_on_the_first_and_the_middle_but_not_on_the_last(modules: int, tmp_path: Path) -> None:
    tree = measure_scale.Tree(tmp_path, modules)
    dependents = {place: len(app.dependents(tree.module(place), modules)) - 1 for place in ("first", "last")}
    assert dependents == {"first": modules * 4 // 5 - 1, "last": 0}
    assert 10 <= len(app.dependents(tree.module("middle"), modules)) - 1 <= 40


def test_what_depends_on_a_saved_module_is_new_in_the_answer(tmp_path: Path) -> None:
    tree = measure_scale.Tree(tmp_path, 20)
    script = "from app.main import version; print(version()['version'])"
    for place in ("middle", "first", "last"):
        expected, save = tree.change(tree.module(place))
        save()
        run = [sys.executable, "-c", script]
        assert int(subprocess.check_output(run, cwd=tree.package.parent)) == expected


def test_processes_that_have_ended_count_with_the_program(tmp_path: Path) -> None:
    child = "import time\nwhile time.process_time() < 0.3: pass"
    parent = (
        "import signal, subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', sys.argv[1]])\n"
        "print('done')\n"
        "signal.pause()"
    )
    log = tmp_path / "log"
    with running([sys.executable, "-c", parent, child], tmp_path, log, {}) as process:
        wait_until(lambda: "done" in log.read_text())
        assert cpu_seconds(process) >= 0.3
        assert memory(process) > 2**20


def test_the_scale_says_what_a_tool_has_not_taken_and_why_it_ended() -> None:
    places = {"last": [0.1, 0.3]}
    result = ScaleResult(
        APIS[0], [0.1, 0.3], missed=2, asked=9, modules=1000, places=places, cpu=[0.5], problem="no | answer"
    )
    page = measure_scale.section([result], SCALE, Machine(2, "a processor", "a kernel", 0.5, "2026-01-01"))
    assert page.startswith(report.SCALE)
    assert "(ended: no / answer) | 1,000 | – | – | 200 ms | – | 300 ms | 2 of 4 | 0.50 s | – |" in page  # noqa: RUF001


def test_each_file_has_its_own_invoices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALES_DATA_DIR", raising=False)
    files = []
    for number in (1, 2):
        sales_file.write(tmp_path / "sales.csv", 20_010, number)
        header, *rows = (tmp_path / "sales.csv").read_text().splitlines()
        assert len(rows) == 20_010
        files.append({row.split(",")[0] for row in rows})
    assert not files[0] & files[1]
    assert len(files[0]) == 500 + 500 + 1
