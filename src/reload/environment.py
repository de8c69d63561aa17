"""What the program depends on besides its code: the variables in `.env`, and installed packages."""

import importlib.util
import io
import logging
import os
import site
import sys
import sysconfig
import time
from pathlib import Path

from .burst import SETTLE

logger = logging.getLogger(__name__)

LOOK_INTERVAL = 0.5
"""Seconds between two looks at the files."""


class Environment:
    """Keeps `os.environ`, which new processes inherit, as `.env` says, and notices installed packages.

    Whoever starts the program has passed on what was in the file. So a variable with the value that the file
    has comes from there; any other was set by somebody who wins over the file. Three variables say more:

    - RELOAD_ENV_FILE: the path of the file, by default `.env` in the working directory;
    - RELOAD_ENV_DEFAULTS, as `NAME=value …`: values that the file replaces, though they are not in it;
    - RELOAD_ENV_FIXED: names of variables that were read before this was made, so that they need a restart.

    A tool that installs packages meanwhile empties `sys.prefix/installed`, and fills it anew when it is done.
    """

    def __init__(self) -> None:
        self._file = Path(os.environ.get("RELOAD_ENV_FILE") or ".env").absolute()
        self._fixed = set(os.environ.get("RELOAD_ENV_FIXED", "").split())
        defaults = os.environ.get("RELOAD_ENV_DEFAULTS", "").split()
        self._defaults = dict(each.split("=", 1) for each in defaults)
        paths = sysconfig.get_paths()
        self._packages = {paths["purelib"], paths["platlib"], *site.getsitepackages()}
        self._known_packages = _stamps(self._packages)
        self._installed = Path(sys.prefix, "installed")
        self._known_installed = _content(self._installed)
        self._known_file = _stamps({self._file})
        self._values, _ = self._read()
        known = {*self._values.items(), *self._defaults.items()}
        self._outside = {name for name, value in os.environ.items() if (name, value) not in known}
        if overridden := self._values.keys() & self._outside - self._fixed:
            logger.info("The environment overrides .env: %s", _list(overridden))
        self._pass_on({name for name in self._values if self._is_free(name)})
        self._is_stale = False
        self.look_at = time.monotonic()
        """When the next look is due."""

    def look(self) -> list[str]:
        """Take over what has changed; returns the files for which a new process would be another."""
        self.look_at = time.monotonic() + LOOK_INTERVAL
        changed = []
        if (file := _stamps({self._file})) != self._known_file:
            if any(0 <= time.time_ns() - modified < SETTLE * 1e9 for modified, *_ in file.values()):
                self.look_at = time.monotonic() + SETTLE  # somebody is still writing
                return []
            self._known_file = file
            values, is_good = self._read()
            if is_good and self._take(values):
                changed.append(str(self._file))
        if (installed := _content(self._installed)) and installed != self._known_installed:
            self._known_installed = installed
            changed.append(str(self._installed))
        self._is_stale = self._is_stale or bool(changed)
        return changed

    def check(self) -> bool:
        """Whether something has changed since the last call that no process with loaded packages knows."""
        packages, was_stale = _stamps(self._packages), self._is_stale
        have_changed = packages != self._known_packages
        self._known_packages, self._is_stale = packages, False
        if have_changed:
            logger.info("Installed packages have changed: loading them again")
        return have_changed or was_stale

    def _read(self) -> tuple[dict[str, str], bool]:
        """The variables in the file, and whether all of it was understood; what was not is logged."""
        values: dict[str, str] = {}
        problem = None
        if importlib.util.find_spec("dotenv") and self._file.exists():
            try:
                values, problem = _parse(self._file.read_text("utf-8-sig"))
            except (OSError, UnicodeDecodeError) as error:
                problem = str(error)
        if problem:
            logger.error("Fix .env, until then the environment stays as it is: %s", problem)
        return values, not problem

    def _take(self, values: dict[str, str]) -> set[str]:
        before, self._values = self._values, values
        changed = {name for name in before | values if before.get(name) != values.get(name)}
        if fixed := changed & self._fixed:
            logger.warning("%s in .env is read at the start only: run `make dev` again", _list(fixed))
        if outside := {name for name in changed - fixed if not self._is_free(name)}:
            logger.warning("%s in .env changes nothing: the environment overrides it", _list(outside))
        changed -= fixed | outside
        self._pass_on(changed)
        return changed

    def _is_free(self, name: str) -> bool:
        """Whether the file decides on a variable: neither it nor a file with its value was set elsewhere."""
        return not {name, f"{name}_FILE"} & (self._outside | self._fixed)

    def _pass_on(self, names: set[str]) -> None:
        for name in names:
            os.environ.pop(name, None)
            if (value := self._values.get(name, self._defaults.get(name))) is not None:
                os.environ[name] = value


def _stamps(paths: set[Path] | set[str]) -> dict[Path | str, tuple[int, ...]]:
    """Of those that exist, the modification time in nanoseconds, and more that shows a replacement."""
    status = {path: os.stat(path) for path in paths if os.path.exists(path)}
    return {path: (found.st_mtime_ns, found.st_ino, found.st_size) for path, found in status.items()}


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _parse(text: str) -> tuple[dict[str, str], str | None]:
    """The variables in the text of a `.env` file, and what is wrong with it, if anything is."""
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    good, problem = "", None
    for line in parse_stream(io.StringIO(text)):
        if line.error or (line.key and line.value is None) or "\0" in line.original.string:
            problem = problem or f"line {line.original.line} is not NAME=value"
        else:
            good += line.original.string
    values = dotenv_values(stream=io.StringIO(good))
    return {name: value for name, value in values.items() if value is not None}, problem


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))
