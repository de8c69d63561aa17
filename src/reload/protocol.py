"""What the supervisor, its generations and the program in them agree on."""

import multiprocessing
import signal
import socket
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

BROKEN = 3
"""Exit code of a generation whose code can't be loaded."""

REFUSED = 78
"""Exit code with which the program says that its settings are wrong, which no save can fix: EX_CONFIG in
sysexits.h."""

REPEATED_SIGNAL = 0.3
"""Seconds within which a second signal counts as the first one again: Ctrl-C may arrive from the terminal and
from a process manager."""

AT_ONCE = signal.SIGQUIT
"""Tells a generation that cleans up to kill what it has started, and to exit."""

NAME_PREFIX = "generation-"
"""The process name of a generation is this and its number."""


class Order(NamedTuple):
    """What the supervisor tells a new generation, or a rehearsal."""

    target: str
    """`module:function`, called with a `Generation` and the arguments."""
    arguments: tuple[Any, ...]
    watch_dirs: tuple[str, ...]
    import_timeout: float
    """Seconds."""
    cache: str
    """A folder for compiled code."""
    cleans_up: bool
    """Whether a generation ends by SIGTERM and `AT_ONCE`, and not by SIGKILL: it has processes of its own."""
    connection: "Connection[Any, Any] | None" = None
    """To the supervisor; a rehearsal has none."""
    announcements: socket.socket | None = None
    """For a rehearsal: where checkpoints announce themselves."""
    stops: frozenset[str] = frozenset()
    """For a rehearsal: the files that get a checkpoint just before them."""


def is_generation() -> bool:
    """Whether this process is a generation, or a rehearsal of one."""
    return multiprocessing.current_process().name.startswith(NAME_PREFIX)
