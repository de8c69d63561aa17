"""Hot reload that hands over: the next generation is at work before the old one stops.

It needs the standard library and watchfiles, and uvicorn if that is what it runs: you can copy the folder
into another repository as it is. README.md says how.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .fingerprint import fingerprint, loaded_fingerprint

if TYPE_CHECKING:
    from .monitor import CodeChangeMonitor
    from .supervisor import Supervisor

__all__ = ["CodeChangeMonitor", "Supervisor", "fingerprint", "loaded_fingerprint"]


def __getattr__(name: str) -> Any:
    # Imported at first use: a generation needs neither, and somebody waits for its imports.
    modules = {"CodeChangeMonitor": "monitor", "Supervisor": "supervisor"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{modules[name]}"), name)
