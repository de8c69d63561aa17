"""A process that must not outlive its parent."""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded once, not in each job
LOOK_EVERY = 0.5
"""Seconds between two looks for the parent, on systems whose kernel does not report its death."""


def die_with(parent: int) -> None:
    """Make sure that this process is killed when its parent is gone.

    Args:
        parent: process id of the parent as it was before the fork, since it may be gone by now.
    """
    if _libc:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), name="lifeline", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGKILL)
