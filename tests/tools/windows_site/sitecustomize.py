"""Takes from each Python process what Windows does not have, as far as the standard library bears it.

`os.name` stays: pathlib would create paths of Windows.
"""

import builtins
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MISSING: dict[object, tuple[str, ...]] = {
    os: (
        "execl", "execle", "execlp", "execv", "execve", "execvp", "fchmod", "fchown", "fork", "getegid",
        "geteuid", "getgid", "getgroups", "getpgid", "getuid", "killpg", "mkfifo", "setsid", "uname",
    ),
    signal: ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "pthread_kill"),
    socket: ("AF_UNIX", "SO_REUSEADDR"),  # the second is there, but lets two programs share a port
}  # fmt: skip
MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios")
NEW_GROUP = 0x200

_open: Any = io.open
_start: Any = subprocess.Popen.__init__


def _open_as_windows(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    """Text needs an encoding, since the default is a code page; line breaks become those of Windows."""
    if "b" not in mode:
        given = dict(zip(("buffering", "encoding", "errors", "newline"), args, strict=False)) | kwargs
        if Path.cwd() in Path(str(file)).parents and given.get("encoding") in (None, "locale"):
            raise UnicodeError(f"{file} is opened in the code page")
        if given.get("newline") is None and set(mode) & set("wxa+"):
            args, kwargs = (), given | {"newline": "\r\n"}
    return _open(file, mode, *args, **kwargs)


def _start_as_windows(process: Any, command: Any, *args: Any, **kwargs: Any) -> None:
    """A group of its own is what keeps Ctrl-C away; there is no session."""
    for name in ("start_new_session", "preexec_fn", "process_group", "user"):
        if kwargs.get(name):
            raise ValueError(f"{name} is not possible on Windows")
    if (kwargs.get("text") or kwargs.get("universal_newlines")) and not kwargs.get("encoding"):
        raise UnicodeError(f"{command} is read in the code page")
    apart = kwargs.pop("creationflags", 0) == NEW_GROUP
    _start(process, command, *args, start_new_session=apart, **kwargs)


def _end(process: "subprocess.Popen[Any]") -> None:
    process.send_signal(9)


def _change_nothing(path: Any, mode: int, **_: Any) -> None:
    pass


for owner, names in MISSING.items():
    for name in names:
        vars(owner).pop(name, None)
for name in MODULES:
    sys.modules[name] = None  # type: ignore[assignment]
os.chmod = _change_nothing  # of a mode, Windows knows the write bit only
io.open = builtins.open = _open_as_windows
subprocess.Popen.__init__ = _start_as_windows  # type: ignore[assignment, method-assign]
subprocess.Popen.kill = subprocess.Popen.terminate = _end  # type: ignore[assignment, method-assign]
subprocess.CREATE_NEW_PROCESS_GROUP = NEW_GROUP  # type: ignore[attr-defined]
shutil._winapi = SimpleNamespace(NeedCurrentDirectoryForExePath=lambda _: True)  # type: ignore[attr-defined]
sysconfig.get_config_vars()  # kept, since the file from which they come has the platform in its name
sys.platform = "win32"
