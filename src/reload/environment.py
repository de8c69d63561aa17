"""What the program depends on besides its code: installed packages and `.env`."""

import logging
import site
import sysconfig
from pathlib import Path

logger = logging.getLogger(__name__)


class Environment:
    """Compares what is there with what was there before."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        paths = sysconfig.get_paths()
        self._packages = Stamps(paths["purelib"], paths["platlib"], *site.getsitepackages())
        self._env_file = Stamps(".env")

    def check(self) -> bool:
        """Log what has changed since the last call; returns whether packages were installed or removed."""
        if self._env_file.have_changed():
            logger.warning(".env has changed: restart the %s to load it", self._noun)
        if packages_changed := self._packages.have_changed():
            logger.info("Installed packages have changed: loading them again")
        return packages_changed


class Stamps:
    """The modification times of files or folders."""

    def __init__(self, *paths: str) -> None:
        self._paths = {Path(path).absolute() for path in paths}
        self._known = self._look()

    def have_changed(self) -> bool:
        """Whether anything is different since the last call."""
        before, self._known = self._known, self._look()
        return before != self._known

    def _look(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self._paths if path.exists()}
