"""An event that signal handlers may set."""

import contextlib
import os
import select


class Wakeup:
    """Like `threading.Event`, but safe to set in a signal handler, which may interrupt the holder of a lock.

    It has a file descriptor, so it can be waited for together with connections.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = os.pipe()
        os.set_blocking(self._receiver, False)
        os.set_blocking(self._sender, False)

    def fileno(self) -> int:
        """The descriptor that is readable while the event is set."""
        return self._receiver

    def set(self) -> None:
        """Set the event."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so it is set
            os.write(self._sender, b"\0")

    def clear(self) -> None:
        """Unset the event."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._receiver, 65536)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the event, at most `timeout` seconds; returns whether it is set."""
        poll = select.poll()
        poll.register(self._receiver, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(timeout * 1000, 0)))
