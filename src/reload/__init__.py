"""Hot reload that hands over: the next generation is at work before the old one stops.

Imports nothing but the standard library and watchfiles: copy the folder into another repository as it is.
"""

from .fingerprint import fingerprint
from .monitor import CodeChangeMonitor
from .supervisor import Supervisor

__all__ = ["CodeChangeMonitor", "Supervisor", "fingerprint"]
