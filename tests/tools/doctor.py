"""`make doctor` in a copy of the repository that a test breaks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.repository import copy_repository
from tools.ports import free_port

_FOREIGN = ("DATABASE_URL", "REDIS_URL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
_SHIFTED = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec -= 60;
    return result;
}
"""


class Patient:
    """A copy of the repository with `.env` and a port, in which nothing has run yet."""

    def __init__(self, folder: Path) -> None:
        """Make the copy, unless there is one."""
        if not folder.exists():
            copy_repository(folder)
        self.folder, self.code, self.port = folder, -1, free_port()
        self.write(".env", (folder / ".env.example").read_text())

    def write(self, name: str, text: str) -> None:
        """Write a file, with the line endings of the text."""
        (self.folder / name).write_bytes(text.encode())

    def doctor(
        self, *wrapper: str, python: str = sys.executable, user: int | None = None, **variables: str
    ) -> str:
        """What `make doctor` prints; its exit code is in `code`.

        Args:
            wrapper: a command that runs another one.
            python: what runs it.
            user: the id of the user who runs it, ours by default.
            variables: what its environment has besides; natively, unless RUNTIME is among them.
        """
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        environment |= {"RUNTIME": "native", "API_PORT": str(self.port), "MAKELEVEL": "1"} | variables
        command = [*wrapper, python, "-m", "tools", "doctor"]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, user=user, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        self.code = done.returncode
        assert "Traceback" not in done.stdout
        assert all(line[:5] in ("ok   ", "FIX  ", "note ") for line in done.stdout.splitlines()), done.stdout
        assert ("FIX  " in done.stdout) == (self.code == 1), done.stdout
        return done.stdout

    def content(self) -> dict[str, bytes]:
        """All files but those of .venv and the bytecode of the tools."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and not {".venv", "__pycache__"} & set(path.relative_to(self.folder).parts)
        }


def slow_clock(folder: Path) -> str:
    """LD_PRELOAD of a process whose clock is a minute behind that of the disk, and of all others."""
    if not (compiler := shutil.which("cc")) or sys.platform != "linux":
        pytest.skip("no C compiler on Linux, to give a process another clock")
    (folder / "shifted.c").write_text(_SHIFTED)
    library = folder / "shifted.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "shifted.c"], check=True)
    return str(library)


def namespace(script: str, *arguments: str) -> list[str]:
    """A wrapper that runs a command after a script, which may mount and set limits for that command alone."""
    unshare = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("unshare is not allowed here")
    count = len(arguments)
    return [*unshare, "sh", "-ec", f'{script}\nshift {count}\nexec "$@"', "sh", *arguments]
