"""Starts generations: the first from nothing, the next from a process that holds the packages."""

import contextlib
import fcntl
import multiprocessing
import os
import py_compile
import shutil
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

from .protocol import Order

PREFIX = "hot-reload-"

INSIDE = ("children", "fingerprint", "generation", "loader", "protocol", "rehearsal", "tree")
"""The modules that run inside a generation, as parts of a private package of compiled files."""

START = """
import importlib, sys, types
package = types.ModuleType("__generation__")
package.__path__ = [folder]
sys.modules[package.__name__] = package
inside = importlib.import_module("__generation__.generation")
inside.run(inside.Order(*order))
"""
"""The first code in a new process, with `folder` and `order` as its globals."""


class Launcher:
    """The standard library's fork server, with the packages that the first generation needed.

    The fork server holds installed packages only, nothing of the application: forked from it, a generation
    imports what may have changed and nothing else.
    """

    def __init__(self) -> None:
        self._packages: list[str] = []
        _remove_left_over()
        self._cache = tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True)
        self._lock = Path(f"{self.cache}.lock").open("w")  # noqa: SIM115  as long as this lives
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        multiprocessing.current_process()._config["tempdir"] = self.cache  # type: ignore[attr-defined]
        self._inside = Path(self.cache, "inside")

    @property
    def cache(self) -> str:
        """The folder where the generations keep compiled code."""
        return self._cache.name

    @property
    def is_warm(self) -> bool:
        """Whether the next generation starts with its packages loaded."""
        return bool(self._packages)

    def start(self, name: str, order: Order) -> BaseProcess:
        """Start a process that obeys an `Order`; may wait until the fork server has loaded its packages."""
        if not self._inside.exists():  # at first, or when something cleaned up the temporary files
            self._inside.mkdir(mode=0o700, parents=True)
            for module in INSIDE:
                source, compiled = Path(__file__).with_name(f"{module}.py"), self._inside / f"{module}.pyc"
                py_compile.compile(str(source), str(compiled), doraise=True)
        if self._packages:
            try:
                return self._start("forkserver", name, order)
            except (OSError, EOFError):  # it did not survive its imports, or was killed
                self.reset()
        return self._start("spawn", name, order)

    def learn(self, packages: list[str]) -> None:
        """Make the next generations start with these packages loaded, too."""
        if packages:
            self._stop_fork_server()
            self._packages += packages
            forkserver.set_forkserver_preload(self._packages)
            with (
                _signals_kept_from_children(),
                contextlib.suppress(OSError),
            ):  # else the next start tries again
                forkserver.ensure_running()

    def reset(self) -> None:
        """Forget the packages: the next generation loads them itself."""
        self._stop_fork_server()
        self._packages = []

    def stop(self) -> None:
        """Clean up, and end the helper processes, which would otherwise outlive this one for a moment."""
        self._stop_fork_server()
        _within(1.0, getattr(getattr(resource_tracker, "_resource_tracker", None), "_stop", None))
        self._cache.cleanup()
        Path(self._lock.name).unlink(missing_ok=True)

    def _start(self, method: str, name: str, order: Order) -> BaseProcess:
        context = multiprocessing.get_context(method)
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=exec, args=(START, {"folder": str(self._inside), "order": tuple(order)}), name=name
        )
        with _signals_kept_from_children(), _no_main_module():
            process.start()
        return process

    def _stop_fork_server(self) -> None:
        server = getattr(forkserver, "_forkserver", None)
        if pid := getattr(server, "_forkserver_pid", None):  # by itself it would take each package apart
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _within(1.0, getattr(server, "_stop", None))


def _remove_left_over() -> None:
    """Remove the folders of supervisors that were killed together with their generations.

    The lock goes last, since whoever removes a folder may be killed, too.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*.lock"):
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its supervisor holds it while it lives
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink()


def _within(seconds: float, function: Callable[[], object] | None) -> None:
    """Call a private function of the standard library, if it exists, and wait for it only so long."""
    if function:

        def attempt() -> None:
            with contextlib.suppress(OSError):  # it is gone already
                function()

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(seconds)


@contextlib.contextmanager
def _signals_kept_from_children() -> Iterator[None]:
    """Start processes that a signal to the whole process group, as Ctrl-C sends it, does not reach.

    A generation removes the mask once it is prepared; the fork server keeps it.
    """
    resource_tracker.ensure_running()  # it changes the mask itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep multiprocessing from running this program's main module in each child, ahead of our code there."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
