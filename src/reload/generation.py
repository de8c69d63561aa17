"""One generation of the program, seen from inside: the process that has loaded the code once.

The supervisor starts it with `runpy.run_path`, so that nothing of the application, not even the package that
this file is in, is imported before errors are looked after. It imports the standard library only.
"""

import contextlib
import gc
import hashlib
import importlib
import marshal
import os
import runpy
import shutil
import signal
import site
import socket
import sys
import sysconfig
import threading
import time
import traceback
import types
from collections.abc import Callable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, ClassVar, NamedTuple

RUN_NAME = "__generation__"
BROKEN = 3
"""Exit code of a generation whose code can't be loaded."""
REFUSED = 78
"""Exit code by which the program says that it must not run with these settings, which no save can mend:
EX_CONFIG in sysexits.h."""


class Order(NamedTuple):
    """What the supervisor tells a generation, or a rehearsal."""

    connection: "Connection[Any, Any] | None"
    """To the supervisor; a rehearsal has none."""
    target: str
    """`module:function`, called with a `Generation` and the arguments."""
    arguments: tuple[Any, ...]
    watch_dirs: tuple[str, ...]
    import_timeout: float
    cache: str
    """A folder for compiled code."""
    announcements: socket.socket | None = None
    """Of a rehearsal."""
    stops: frozenset[str] = frozenset()
    """Of a rehearsal: the files before which there are to be checkpoints."""


class Generation:
    """What the code that runs in a generation tells its supervisor, and hears from it.

    In this order: `loaded`, `ready` (which returns once it may work), `working`; later the function given to
    `ready` is called to stop it, and it says `quiet` once it begins nothing new.
    """

    def __init__(self, watch_dirs: tuple[str, ...], import_timeout: float) -> None:
        self._watch_dirs = tuple(os.path.join(os.path.realpath(each), "") for each in watch_dirs)
        self._import_timeout = import_timeout
        self._modules = set(sys.modules)
        self._sending = threading.Lock()
        self._may_work: SimpleQueue[bool] = SimpleQueue()
        self._on_stop: Callable[[], object] | None = None
        self.is_ready = False
        self.on_loaded: Callable[[], object] = lambda: None

    def begin(self, connection: "Connection[Any, Any]") -> None:
        """Begin to talk with the supervisor; from now on, loading the code may take its time."""
        self._connection = connection
        self._deadline: float | None = time.monotonic() + self._import_timeout
        self.on_loaded = lambda: None
        # Ctrl-C goes to every process of a terminal: the supervisor alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        os.register_at_fork(after_in_child=connection.close)
        threading.Thread(target=self._listen, name="supervisor", daemon=True).start()

    def loaded(self) -> None:
        """Say that everything is imported: from now on it may wait for what it needs as long as it has to."""
        self.on_loaded()
        self._deadline = None
        gc.enable()
        self._tell("loaded", _installed(set(sys.modules) - self._modules), CachingLoader.files)

    def ready(self, on_stop: Callable[[], object]) -> bool:
        """Say that it could work, and wait for the word to begin.

        Args:
            on_stop: called in another thread when this generation has to finish and leave: a newer one has
                taken over, or the supervisor is about to leave, or is gone.

        Returns:
            False when it is not wanted any more and has to leave at once.
        """
        self._on_stop = on_stop
        self.is_ready = True
        self._tell("ready")
        return self._may_work.get()

    def working(self) -> None:
        """Say that it takes work now."""
        self._tell("working")

    def quiet(self) -> None:
        """Say that it begins nothing new any more; what it began, it may finish."""
        self._tell("quiet")

    def broken(self, error: BaseException) -> None:
        """Say that the code can't be loaded, or refuses to run, with file, line and reason."""
        word = "refused" if isinstance(error, SystemExit) and error.code == REFUSED else "broken"
        reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        self._tell(word, self._place(error), reason, "".join(traceback.format_exception(error)))

    def _place(self, error: BaseException) -> str:
        """File and line of the application in which an error arose."""
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            return f"{self._shorten(error.filename)}:{error.lineno}"
        frames = traceback.extract_tb(error.__traceback__)
        return self._innermost([(frame.filename, frame.lineno or 0) for frame in frames])

    def _innermost(self, frames: list[tuple[str, int]]) -> str:
        own = [
            frame
            for frame in frames
            if frame[0].startswith(self._watch_dirs) and frame[0] != run.__code__.co_filename
        ]
        filename, line = (own or frames)[-1]
        return f"{self._shorten(filename)}:{line}"

    def _shorten(self, filename: str) -> str:
        return filename.removeprefix(os.path.join(os.getcwd(), ""))

    def _tell(self, *message: object) -> None:
        with self._sending, contextlib.suppress(OSError):  # the supervisor is gone: `_listen` sees it, too
            self._connection.send(message)

    def _listen(self) -> None:
        while True:
            try:
                if not self._connection.poll(self._patience()):
                    self._hangs()
                    continue
                message = self._connection.recv()
            except (EOFError, OSError):  # the supervisor is gone, and can't clean up any more
                shutil.rmtree(CachingLoader.cache, ignore_errors=True)
                message = "stop"
            if message == "go":
                self._may_work.put(item=True)
                continue
            if not self._on_stop:
                os._exit(0)
            self._may_work.put(item=False)
            self._on_stop()
            return

    def _patience(self) -> float | None:
        deadline = self._deadline
        return None if deadline is None else max(deadline - time.monotonic(), 0)

    def _hangs(self) -> None:
        if self._deadline is None:
            return
        frame = sys._current_frames()[threading.main_thread().ident or 0]
        place = self._innermost([(f.f_code.co_filename, n) for f, n in traceback.walk_stack(frame)][::-1])
        self._tell("broken", place, f"the import takes longer than {self._import_timeout:g} s", "")
        os._exit(BROKEN)


class CachingLoader(SourceFileLoader):
    """Loads source, or what was compiled from the very same source before.

    Python itself takes bytecode for current when the source's time in whole seconds and its size have not
    changed, which two saves within a second need not do. Here the content decides, so the old code is never
    taken for the new one; and the cache works where Python may write no bytecode.
    """

    cache = ""
    """The folder of the compiled code."""
    files: ClassVar[list[str]] = []
    """What was loaded, in order."""
    rehearsal: ClassVar[Any] = None
    """Asked before a file is read."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Load a module."""
        if self.rehearsal:
            self.rehearsal.before(self.path)
        self.files.append(self.path)
        super().exec_module(module)

    def get_code(self, fullname: str) -> types.CodeType | None:
        """The code of a module."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        digest = hashlib.blake2b(path.encode() + b"\0" + source, digest_size=16).hexdigest()
        compiled = os.path.join(self.cache, digest)
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError), open(compiled, "rb") as file:
            code: types.CodeType = marshal.load(file)  # noqa: S302  the folder is this user's alone
            return code
        code = self.source_to_code(source, path)
        with contextlib.suppress(OSError):
            scratch = f"{compiled}.{os.getpid()}"
            with open(scratch, "wb") as file:
                marshal.dump(code, file)
            os.replace(scratch, compiled)
        return code


def _load_by_content(watch_dirs: tuple[str, ...], cache: str) -> None:
    """Have `CachingLoader` load everything below the watched directories, and the packages that they are."""
    roots = tuple(os.path.join(os.path.realpath(each), "") for each in watch_dirs)
    parents = {os.path.dirname(root[:-1]) for root in roots}
    CachingLoader.cache = cache
    loaders = (
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (CachingLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )

    def is_ours(path: str) -> bool:
        real = os.path.realpath(path)
        return real in parents or os.path.join(real, "").startswith(roots)

    def find(path: str) -> FileFinder:
        if not is_ours(path):
            raise ImportError
        return FileFinder(path, *loaders)

    sys.path_hooks.insert(0, find)
    for path in filter(is_ours, list(sys.path_importer_cache)):
        del sys.path_importer_cache[path]


def _installed(names: set[str]) -> list[str]:
    """Those modules that are installed packages or Python's own, in the order in which they were imported."""
    paths = sysconfig.get_paths()
    roots = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots |= {*site.getsitepackages(), site.getusersitepackages()}
    below = tuple(os.path.join(os.path.realpath(root), "") for root in roots)

    def is_installed(name: str) -> bool:
        origin = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
        if not isinstance(origin, str) or "__main__" in name:
            return False
        return origin in ("built-in", "frozen") or os.path.realpath(origin).startswith(below)

    return [name for name in list(sys.modules) if name in names and is_installed(name)]


def _leave_fork_server() -> None:
    """Let go of the fork server, which otherwise could not end before its last child."""
    server = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None  # type: ignore[union-attr]


def run(order: Order) -> None:
    """Load the code and run it, until it is told to stop.

    Raises:
        SystemExit: the code can't be loaded; the supervisor knows why.
    """
    gc.freeze()  # what the fork server has loaded is shared memory as long as nobody looks through it
    gc.disable()  # an import makes much and drops little: looking for garbage is a tenth of its time
    _leave_fork_server()
    generation = Generation(order.watch_dirs, order.import_timeout)
    _load_by_content(order.watch_dirs, order.cache)
    rehearsal = None
    if order.connection:
        generation.begin(order.connection)
    else:
        code = runpy.run_path(os.path.join(order.cache, "rehearsal.pyc"))
        rehearsal = code["Rehearsal"](order, generation.begin)
        generation.on_loaded = rehearsal.leave
        CachingLoader.rehearsal = rehearsal
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


if __name__ == RUN_NAME:
    run(Order(*globals()["order"]))
