"""What the program depends on besides its code: installed packages and `.env`."""

import site
import sysconfig
from pathlib import Path


class Environment:
    """Compares what is there with what was there at the last call."""

    def __init__(self) -> None:
        self._env_file = Path(".env").absolute()
        paths = sysconfig.get_paths()
        self._packages = {
            Path(path) for path in (paths["purelib"], paths["platlib"], *site.getsitepackages())
        }
        self._packages_stamp = self._stamp(self._packages)
        self._env_stamp = self._stamp({self._env_file})

    def packages_changed(self) -> bool:
        """Whether packages were installed or removed since the last call."""
        before, self._packages_stamp = self._packages_stamp, self._stamp(self._packages)
        return before != self._packages_stamp

    def env_file_changed(self) -> bool:
        """Whether `.env` in the working directory was changed since the last call."""
        before, self._env_stamp = self._env_stamp, self._stamp({self._env_file})
        return before != self._env_stamp

    @staticmethod
    def _stamp(paths: set[Path]) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in paths if path.exists()}
