"""The processes that a checkpoint has forked, seen from the checkpoint."""

import contextlib
import os
from typing import Any


class Children:
    """Generations, and rehearsals that go on."""

    def __init__(self) -> None:
        self.processes: dict[int, tuple[int, int]] = {}
        """By a descriptor that is readable once the process has ended: its id, a pipe for its exit code."""

    def add(self, pid: int, report: int) -> None:
        """Note one more."""
        self.processes[os.pidfd_open(pid)] = pid, report

    def reap(self, ready: list[Any]) -> None:
        """Report the exit codes of those that have ended."""
        for pidfd in [each for each in ready if each in self.processes]:
            pid, report = self.processes.pop(pidfd)
            os.close(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(OSError):
                os.write(report, code.to_bytes(4, "little", signed=True))
            os.close(report)

    def close(self) -> None:
        """Let go of them, in a process that is not their parent."""
        for pidfd, (_, report) in self.processes.items():
            os.close(pidfd)
            os.close(report)
