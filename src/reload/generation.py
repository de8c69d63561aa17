"""One generation of the program, seen from inside: the process that loads the code, once, and runs it.

It runs as a module of the private package that `launcher.py` makes, so that nothing of the application, not
even the package that this file is in, is imported before import errors are caught. For the same reason it and
the modules that it imports use the standard library only.
"""

import atexit
import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from .loader import CachingLoader, installed, load_by_content
from .protocol import BROKEN, REFUSED, Order

IMPORTING = 1_000_000, 10, 10
"""When to collect garbage: an import makes much and drops little, so that would be a tenth of its time."""


class Generation:
    """The line between the code that runs in a generation and its supervisor.

    The code calls `loaded`, `ready` (which returns once it may work) and `working`, in this order. Later the
    function that it gave to `ready` is called; then it stops, and calls `quiet` once it starts nothing new.
    """

    def __init__(self, watch_dirs: tuple[str, ...], import_timeout: float) -> None:
        self._watch_dirs = tuple(os.path.join(os.path.realpath(each), "") for each in watch_dirs)
        self._import_timeout = import_timeout
        self._modules = set(sys.modules)
        self._threshold = gc.get_threshold()
        gc.set_threshold(*IMPORTING)
        self._sending = threading.Lock()
        self._may_work: SimpleQueue[bool] = SimpleQueue()
        self._on_stop: Callable[[], object] | None = None
        self.is_ready = False
        self.is_last = False
        """Whether no other takes over once this one stops: the supervisor is stopping, or has died."""
        self.on_loaded: Callable[[], object] = lambda: None

    def begin(self, connection: "Connection[Any, Any]") -> None:
        """Start to talk to the supervisor; the time that loading the code may take starts now."""
        self._connection = connection
        self._deadline: float | None = time.monotonic() + self._import_timeout
        self.on_loaded = lambda: None
        # Ctrl-C reaches every process of a terminal: only the supervisor decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        os.register_at_fork(after_in_child=connection.close)
        threading.Thread(target=self._listen, name="supervisor", daemon=True).start()

    def loaded(self, on_stop: Callable[[], object] | None = None) -> None:
        """Say that everything is imported: what it waits for from now on may take any time.

        Args:
            on_stop: as for `ready`, if there is something to stop from now on.
        """
        self.on_loaded()
        self._on_stop = on_stop
        self._deadline = None
        if gc.get_threshold() == IMPORTING:  # else the code has chosen its own
            gc.set_threshold(*self._threshold)
            if gc.isenabled():
                gc.collect(1)  # by itself Python would look at all new objects twice, in the first request
        self._tell("loaded", installed(set(sys.modules) - self._modules), list(CachingLoader.files))

    def ready(self, on_stop: Callable[[], object]) -> bool:
        """Say that it is ready to work, and wait for permission.

        Args:
            on_stop: called in another thread when this generation has to finish its work and exit: a newer
                one has taken over; and when `is_last` becomes true, perhaps after that.

        Returns:
            False when it is no longer wanted and has to exit at once.
        """
        self._on_stop = on_stop
        self.is_ready = True
        self._tell("ready")
        return self._may_work.get()

    def working(self) -> None:
        """Say that it accepts work from now on."""
        self._tell("working")

    def quiet(self) -> None:
        """Say that it starts nothing new any more; what it has started, it may finish."""
        self._tell("quiet")

    def broken(self, error: BaseException) -> None:
        """Report code that can't be loaded or refuses to run, with file, line and reason."""
        word = "broken"
        if isinstance(error, SystemExit) and error.code == REFUSED:
            word = "refused"
        elif isinstance(error, SystemExit) and isinstance(error.code, int) and error.__context__:
            error = error.__context__  # the reason for the exit, such as an application that uvicorn misses
        lines = "".join(traceback.format_exception_only(error)).split("\n")
        if isinstance(error, SyntaxError):  # it begins with the line of code
            lines = lines[-2:]
        reason = " ".join(line.strip() for line in lines if line)
        self.tell_broken(word, self._place(error), reason, "".join(traceback.format_exception(error)))

    def tell_broken(self, word: str, place: str, reason: str, trace: str) -> None:
        """Report that the code on disk does not work: "broken", or "refused" if no save can fix it."""
        from .fingerprint import fingerprint  # not earlier: what it imports has to come from the fork server

        codes = [fingerprint(each, CachingLoader.files) for each in self._watch_dirs]
        self._tell(word, place, reason, trace, codes)

    def _place(self, error: BaseException) -> str:
        """The file and line of the application where an error was raised."""
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            return f"{self._shorten(error.filename)}:{error.lineno}"
        frames = traceback.extract_tb(error.__traceback__)
        return self._innermost([(frame.filename, frame.lineno or 0) for frame in frames])

    def _innermost(self, frames: list[tuple[str, int]]) -> str:
        ours = {run.__code__.co_filename, CachingLoader.get_code.__code__.co_filename}
        own = [frame for frame in frames if frame[0].startswith(self._watch_dirs) and frame[0] not in ours]
        filename, line = (own or frames)[-1]
        return f"{self._shorten(filename)}:{line}"

    def _shorten(self, filename: str) -> str:
        return filename.removeprefix(os.path.join(os.getcwd(), ""))

    def _tell(self, *message: object) -> None:
        with self._sending, contextlib.suppress(OSError):  # the supervisor is gone, as `_listen` finds out
            self._connection.send(message)

    def _listen(self) -> None:
        while True:
            try:
                if not self._connection.poll(self._patience()):
                    self._hangs()
                    continue
                message = self._connection.recv()
            except (EOFError, OSError):  # the supervisor is gone and can't clean up
                shutil.rmtree(CachingLoader.cache, ignore_errors=True)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{CachingLoader.cache}.lock")
                message = "end"
            if message == "go":
                self._may_work.put(item=True)
                continue
            if not self._on_stop:
                os._exit(0)
            self.is_last = message == "end"
            self._may_work.put(item=False)
            self._on_stop()
            if self.is_last:
                return

    def _patience(self) -> float | None:
        deadline = self._deadline
        return None if deadline is None else max(deadline - time.monotonic(), 0)

    def _hangs(self) -> None:
        if self._deadline is None:
            return
        frame = sys._current_frames()[threading.main_thread().ident or 0]
        place = self._innermost([(f.f_code.co_filename, n) for f, n in traceback.walk_stack(frame)][::-1])
        self.tell_broken("broken", place, f"the import takes longer than {self._import_timeout:g} s", "")
        os._exit(BROKEN)


def run(order: Order) -> None:
    """Load the code and run it until it is told to stop.

    Raises:
        SystemExit: the code can't be loaded; the supervisor knows why.
    """
    gc.freeze()  # what the fork server has loaded stays shared memory as long as nobody looks through it
    _leave_fork_server()
    generation = Generation(order.watch_dirs, order.import_timeout)
    load_by_content(order.watch_dirs, order.cache)
    rehearsal = None
    if order.connection:
        generation.begin(order.connection)
    else:
        from .rehearsal import Rehearsal

        CachingLoader.rehearsal = rehearsal = Rehearsal(order, generation.begin)
        generation.on_loaded = rehearsal.leave
    try:
        module, _, function = order.target.partition(":")
        getattr(importlib.import_module(module), function)(generation, *order.arguments)
        if not generation.is_ready:
            raise RuntimeError(f"{order.target} returned before it was ready")
    except BaseException as error:
        if rehearsal and rehearsal.is_under_way:
            rehearsal.leave()
        if generation.is_ready:
            raise
        generation.broken(error)
        sys.exit(BROKEN)
    finally:
        _exit_in_order()


def _exit_in_order() -> None:
    """End as a program does: wait for its threads, then call what `atexit` knows.

    Up to Python 3.13, multiprocessing calls that only where it has not forked.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()


def _leave_fork_server() -> None:
    """Let go of the fork server, which otherwise could not end before its last child."""
    server = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None  # type: ignore[union-attr]
