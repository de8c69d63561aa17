"""A program large enough for checkpoints, under the supervisor."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import wait_until
from tests.reload.program import MAIN, Program

MODULES = 80

MODULE = """
import os
from pkg.registry import ORDER

ORDER.append({number})
print("loading {number}", flush=True)
with open("loaded", "a") as file:
    file.write(f"{number} {{os.getpid()}}\\n")
"""

SAY_ORDER = f"""
if ORDER != list(range({MODULES})):
    raise SystemExit(f"loaded in the order {{ORDER}}")
"""


class LargeProgram(Program):
    """Modules that are imported one after the other, `version` among the last."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.version = 1
        self.save("registry.py", "ORDER = []\n")
        for number in range(MODULES):
            self.save_module(number)
        imports = "".join(f"import pkg.m{number:02}\n" for number in range(MODULES - 5))
        last = "".join(f"import pkg.m{number:02}\n" for number in range(MODULES - 5, MODULES))
        self.save("main.py", imports + MAIN + last + "from pkg.registry import ORDER\n" + SAY_ORDER)

    def save_module(self, number: int, more: str = "") -> None:
        """Write a module, with some more code."""
        self.save(f"m{number:02}.py", MODULE.format(number=number) + more)

    def loaded_by(self, pid: int) -> list[int]:
        """The modules that a process has loaded itself, in order."""
        lines = [line.split() for line in (self.folder / "loaded").read_text().splitlines()]
        return [int(number) for number, by in lines if int(by) == pid]

    def save_version(self) -> int:
        """Save the next version and wait until it is at work; returns its process."""
        self.version += 1
        return self.change("version.py", f"VERSION = {self.version}\n")

    def change(self, name: str, content: str) -> int:
        """Save a file and wait for the hand-over; returns the new process."""
        hand_overs = self.log.count("at work after")
        self.save(name, content)
        self.wait_for_log("at work after", hand_overs + 1)
        return self.said("working")[-1][1]

    def wait_for_checkpoints(self, count: int | None = None) -> None:
        """Wait until those are there that are made after a hand-over."""
        line = f"{count or ''} checkpoints for the next change"
        wait_until(lambda: self.log.rfind(line) > self.log.rfind("at work after"), what=f"{line}: {self.log}")


@contextmanager
def running(folder: Path) -> Iterator[LargeProgram]:
    """A program at work, with checkpoints for the next change, until the block ends."""
    program = LargeProgram(folder)
    try:
        program.start()
        program.wait_for_log("at work after")
        program.wait_for_checkpoints()
        yield program
    finally:
        program.kill_all()
