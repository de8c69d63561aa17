"""Random edits of random trees: after each, the generation at work is the same as a cold start.

`RANDOM_ROUNDS=2000 RANDOM_SEED=7` plays so many rounds, 50 with each tree: 7 is the seed of the first, 8
that of the second. A failure prints the seed of its tree and the edits so far: they are played again with it
and RANDOM_ROUNDS=50; only the timing is different.
"""

import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

from src.reload.checkpoints import LEAST_FILES
from tests.conftest import ROOT, wait_until
from tests.reload.program import Program
from tests.reload.random_tree import Tree, save

ROUNDS = int(os.environ.get("RANDOM_ROUNDS", "0"))
SEED = int(os.environ.get("RANDOM_SEED", "1"))
EACH = 50
PLAYED = [(SEED + n, min(EACH, ROUNDS - n * EACH)) for n in range(-(-ROUNDS // EACH))]
"""Seeds, and the rounds with each; every third has SQLAlchemy, pydantic and FastAPI, and takes longer."""

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b.invalid"]

READY = "checkpoints for the next change"


class Rounds(Program):
    """A random tree under the supervisor, and one edit after the other."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        self.random = random = Random(seed)  # noqa: S311
        self.heavy = seed % 3 == 0
        size = random.choice([60, 85, 85, 90, 100, 120, 150, 200])
        rare = random.random() < 0.2
        self.tree = Tree(random, size, heavy=self.heavy, rare=rare)
        (folder / "pkg" / "version.py").unlink()
        self.disk = {"pkg/__init__.py": "", "pkg/main.py": ""}
        self.commits: list[tuple[str, Tree, dict[str, str]]] = []
        self.history = [f"RANDOM_SEED={seed}, {size} modules"]
        self.exits: dict[int, str] = {}
        self._log_at = 0
        self._write()
        while self.cold_start()[0] is None:  # for example a circular import that fails
            self.tree = Tree(random, size, heavy=self.heavy, rare=rare)
            self._write()
        self.good = copy.deepcopy(self.tree)
        self._git("init")
        (folder / ".git" / "info" / "exclude").write_text("/*\n!/pkg\n!/outside\n")

    def _git(self, *command: str) -> str:
        return subprocess.run(
            [*GIT, *command], cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def _write(self) -> None:
        after = self.tree.files()
        save(self.folder, self.disk, after, self.random)
        self.disk = after

    def environment(self) -> dict[str, str]:
        """The order of sets, and no bytecode, in which Python itself mistakes one save for another."""
        return {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}

    def cold_start(self) -> tuple[Any, str]:
        """The state after a cold start, or None if it fails; and what it does at its exit, or the error."""
        path = self.folder / "cold"
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.reload.state", "pkg.main", str(path)]
        environment = os.environ | self.environment() | {"PYTHONPATH": f"{ROOT}{os.pathsep}{self.folder}"}
        with subprocess.Popen(command, cwd=self.folder, env=environment, stderr=subprocess.PIPE) as process:
            assert process.stderr
            error = process.stderr.read().decode()
        if not path.exists():
            return None, error
        return json.loads(path.read_bytes())["state"], self.said_at_exit(process.pid)

    def said_at_exit(self, pid: int) -> str:
        """What a process wrote by `atexit`."""
        path = self.folder / f"exit-{pid}"
        return path.read_text() if path.exists() else ""

    def live(self) -> dict[str, Any]:
        """Process and state of the newest generation."""
        path = self.folder / "live"
        return dict(json.loads(path.read_bytes())) if path.exists() else {"pid": 0, "state": {}}

    def new_log(self) -> str:
        """What was logged since the round began."""
        with (self.folder / "log").open("rb") as log:
            log.seek(self._log_at)
            return log.read().decode()

    def play(self) -> None:
        """One round."""
        if self.random.random() < 0.5 and len(self.disk) > LEAST_FILES + 20:
            try:
                wait_until(lambda: READY in self.new_log().rpartition("at work after")[2], 3)
            except AssertionError:
                self.history.append("(no checkpoints)")
        self._log_at = (self.folder / "log").stat().st_size
        before, old = self.disk, self.live()["pid"]
        self.tree = copy.deepcopy(self.good)
        for pause in [self.random.random() / 4 for _ in range(self.random.choice([0, 0, 0, 1, 2]))]:
            self._edit()
            time.sleep(pause)  # not to wait for something, but to come at any moment of what happens next
        self._edit()
        self.compare(old, has_changed=before != self.disk)

    def _edit(self) -> None:
        """Change something on disk."""
        if self.random.random() < 0.1:
            self._check_out()
        else:
            self.tree.random = self.random
            self.history.append(self.tree.edit())
            self._write()
        if self.history[-1].startswith("touch"):
            self.random.choice([*self.folder.glob("pkg/**/*.py")]).touch()

    def _check_out(self) -> None:
        """Commit what is there, and mostly check out something older: Git writes many files at once."""
        self._git("add", "-A", ".")
        self._git("commit", "--allow-empty", "-qm", "commit")
        self.commits.append((self._git("rev-parse", "HEAD"), self.tree, self.disk))
        commit, tree, self.disk = self.random.choice(self.commits)
        self.tree = copy.deepcopy(tree)
        self.history.append(f"git checkout of commit {self.commits.index((commit, tree, self.disk))}")
        self._git("checkout", "-q", commit)

    def compare(self, old: int, *, has_changed: bool) -> None:
        """Wait until the state is that of a cold start, or until broken code has been reported."""
        cold, more = self.cold_start()
        try:
            if cold is None and has_changed:
                self.history.append(f"  broken: {(more.splitlines() or ['SystemExit'])[-1]}")
                wait_until(lambda: "Code can't be loaded" in self.new_log(), 60, "the report")
                os.kill(self.live()["pid"], 0)
            elif cold is not None:
                word = "at work after" if has_changed else ""
                wait_until(lambda: word in self.new_log(), 60, "the hand-over")
                wait_until(
                    lambda: list(self.live()["state"].items()) == list(cold.items()), 15, "the same state"
                )
                self.good = copy.deepcopy(self.tree)
                self._compare_exit(old)
                self.exits[self.live()["pid"]] = more
        except AssertionError as error:
            report = "\n".join(
                [*self.history, *differences(cold or {}, self.live()["state"]), self.new_log()[-3000:]]
            )
            raise AssertionError(f"{error}: {more if cold is None else ''}\n{report}") from None

    def _compare_exit(self, old: int) -> None:
        if old != self.live()["pid"] and self.exits.get(old):
            wait_until(
                lambda: self.said_at_exit(old) == self.exits[old], 15, f"{self.exits[old]!r} from atexit"
            )


def differences(cold: dict[str, Any], live: dict[str, Any]) -> list[str]:
    """What is not the same, for people."""
    names = [name for name in cold | live if cold.get(name) != live.get(name)]
    found = [f"{name}\n   cold {cold.get(name)}\n   live {live.get(name)}" for name in names[:10]]
    return [f"{len(names)} differences", *found]


@pytest.mark.parametrize(("seed", "count"), PLAYED or [(1, 21), (2, 21), (3, 8)])
def test_a_generation_is_the_same_as_a_cold_start(tmp_path: Path, seed: int, count: int) -> None:
    rounds = Rounds(tmp_path, seed)
    try:
        rounds.start(**rounds.environment())
        rounds.compare(0, has_changed=True)
        for _ in range(count):
            rounds.play()
    finally:
        rounds.kill_all()
