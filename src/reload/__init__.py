"""Hot reload that hands over: the next generation is at work before the old one stops.

It needs the standard library and watchfiles, and uvicorn if that is what it runs: you can copy the folder
into another repository as it is. README.md says how.
"""

from typing import TYPE_CHECKING, Any

from .fingerprint import fingerprint

if TYPE_CHECKING:
    from .monitor import CodeChangeMonitor
    from .supervisor import Supervisor

__all__ = ["CodeChangeMonitor", "Supervisor", "fingerprint"]


def __getattr__(name: str) -> Any:
    # Imported at first use: a generation needs neither, and somebody waits for its imports.
    if name == "CodeChangeMonitor":
        from .monitor import CodeChangeMonitor

        return CodeChangeMonitor
    if name == "Supervisor":
        from .supervisor import Supervisor

        return Supervisor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
