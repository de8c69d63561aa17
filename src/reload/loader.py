"""How a generation imports the watched code: from source, or from what that very source was compiled to."""

import contextlib
import hashlib
import marshal
import os
import site
import sys
import sysconfig
import types
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from typing import Any, ClassVar


class CachingLoader(SourceFileLoader):
    """Loads source, or what was compiled from the very same source before.

    Python itself considers bytecode current while the source has the same size and the same time in whole
    seconds, and two saves within a second can agree in both. Here the content decides, so a save never runs
    old code; and the cache works where Python may not write bytecode.
    """

    cache = ""
    """The folder of the compiled code."""
    files: ClassVar[dict[str, bytes]] = {}
    """What was loaded, in order: the SHA-256 of each file's source."""
    rehearsal: ClassVar[Any] = None
    """Told about each file before it is read."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Load a module."""
        if self.rehearsal:
            self.rehearsal.before(self.path)
        super().exec_module(module)

    def get_code(self, fullname: str) -> types.CodeType | None:
        """The code of a module."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        self.files[path] = hashlib.sha256(source).digest()
        digest = hashlib.blake2b(path.encode() + b"\0" + source, digest_size=16).hexdigest()
        compiled = os.path.join(self.cache, digest)
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError), open(compiled, "rb") as file:
            code: types.CodeType = marshal.loads(file.read())  # noqa: S302  only this user can write to the folder
            return code
        code = self.source_to_code(source, path)
        with contextlib.suppress(OSError):
            scratch = f"{compiled}.{os.getpid()}"
            with open(scratch, "wb") as file:
                marshal.dump(code, file)
            os.replace(scratch, compiled)
        return code


def load_by_content(watch_dirs: tuple[str, ...], cache: str) -> None:
    """Use `CachingLoader` for the watched directories: as packages, and for everything below them."""
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
        if not is_ours(path) or not os.path.isdir(path or os.curdir):  # a zip file, a program for `runpy`
            raise ImportError
        return FileFinder(path, *loaders)

    sys.path_hooks.insert(0, find)
    for path in filter(is_ours, list(sys.path_importer_cache)):
        del sys.path_importer_cache[path]


def installed(names: set[str]) -> list[str]:
    """Those modules that are installed packages or Python's own, in the order in which they were imported."""
    paths = sysconfig.get_paths()
    roots = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots |= {*site.getsitepackages(), site.getusersitepackages()}
    below = tuple(os.path.join(os.path.realpath(root), "") for root in roots)

    def is_installed(name: str) -> bool:
        origin = getattr(getattr(sys.modules[name], "__spec__", None), "origin", None)
        if not isinstance(origin, str) or "__main__" in name or origin in CachingLoader.files:
            return False
        return origin in ("built-in", "frozen") or os.path.realpath(origin).startswith(below)

    return [name for name in list(sys.modules) if name in names and is_installed(name)]
