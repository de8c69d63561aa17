"""File events: the hint to look now rather than later.

On Linux they come from the kernel: a thread that waits for `inotify` costs nothing while nothing happens, and
answers within a millisecond. Elsewhere watchfiles provides what the system has; it wakes up every `step` to
look at its own list, so it is either late or costs more than all the rest.
"""

import ctypes
import os
import select
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

Announce = Callable[[Iterable[str]], None]
"""Called with the paths that an event names; a path that is not a file asks for a scan of everything."""

Skip = Callable[[str], bool]
"""Whether to announce nothing from the directory at a path."""

WATCHFILES_STEP = 30
"""Milliseconds between two looks of watchfiles at its list: events within 60 ms, at 0.2 % of a core."""

_EVENT = struct.Struct("iIII")
_CLOSE_WRITE, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED, _ONLY_DIRECTORIES, _IS_DIRECTORY = 0x4000, 0x8000, 0x0100_0000, 0x4000_0000
_MASK = _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _ONLY_DIRECTORIES

_LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})


def read_events(root: str, announce: Announce, stop: Event, skip: Skip) -> None:
    """Announce what changes below `root` until `stop` is set; announces `root` itself once it listens.

    Args:
        root: a real path.
        announce: called in this thread.
        stop: checked at least every second.
        skip: called in this thread, too.

    Raises:
        Exception: there are no events here, such as when the system's limit of watches is reached.
    """
    if sys.platform == "linux":
        _read_inotify(root, announce, stop, skip)
    else:
        read_watchfiles(root, announce, stop, skip)


def are_likely(root: str) -> bool:
    """Whether only this system can change files below `root`, so that it knows about every change.

    Files on another machine (a virtual machine's host, a network drive) change without an event.
    """
    if sys.platform != "linux":
        return True
    kinds = {}
    try:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            kinds[os.path.join(left.split()[4], "")] = right.split()[0]
    except (OSError, IndexError):
        return False
    mount = max((point for point in kinds if os.path.join(root, "").startswith(point)), key=len, default="")
    return kinds.get(mount) in _LOCAL


def read_watchfiles(root: str, announce: Announce, stop: Event, skip: Skip) -> None:
    """Like `read_events`, with watchfiles."""
    from watchfiles import watch

    announce([root])
    changes = watch(
        root,
        watch_filter=lambda _, path: not skip(os.path.dirname(path)),
        debounce=WATCHFILES_STEP,
        step=WATCHFILES_STEP,
        rust_timeout=0,
        stop_event=stop,
        raise_interrupt=False,
        force_polling=False,
        ignore_permission_denied=True,
    )
    for batch in changes:
        announce([path for _, path in batch])


def _read_inotify(root: str, announce: Announce, stop: Event, skip: Skip) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if queue < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1 failed")
    directories: dict[int, str] = {}
    try:
        _watch_below(libc, queue, root, directories, skip)
        announce([root])
        poll = select.poll()
        poll.register(queue, select.POLLIN)
        while not stop.is_set():
            if poll.poll(1000):
                paths = _paths(os.read(queue, 1 << 16), directories, root)
                for path in paths:
                    if os.path.isdir(path) and not skip(path):
                        _watch_below(libc, queue, path, directories, skip)
                announce(paths)
    finally:
        os.close(queue)


def _watch_below(libc: ctypes.CDLL, queue: int, root: str, directories: dict[int, str], skip: Skip) -> None:
    for directory, below, _ in os.walk(root):
        below[:] = [name for name in below if not skip(os.path.join(directory, name))]
        watch = libc.inotify_add_watch(queue, os.fsencode(directory), _MASK)
        if watch >= 0:
            directories[watch] = directory
        elif ctypes.get_errno() not in (2, 13, 20):  # vanished, unreadable, not a directory
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _paths(data: bytes, directories: dict[int, str], root: str) -> list[str]:
    """The paths that a read from inotify names; `root` where events were lost."""
    paths = []
    offset = 0
    while offset < len(data):
        watch, mask, _, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size + length
        if mask & _OVERFLOW:
            paths.append(root)
        elif mask & _IGNORED:
            directories.pop(watch, None)
        elif watch in directories:
            name = os.fsdecode(data[offset - length : offset].rstrip(b"\0"))
            path = os.path.join(directories[watch], name)
            # A file matters once its writer closes it, a directory or a link as soon as it is there.
            is_complete = not mask & _CREATE or mask & _IS_DIRECTORY or os.path.islink(path)
            if is_complete:
                paths.append(path)
    return paths
