"""The monitor that many write: modification times every 2 s, SIGTERM to itself, a loop starts it again."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import rq_imported

INTERVAL = 2.0


def times() -> dict[Path, float]:
    """When each file of the application was changed."""
    return {path: path.stat().st_mtime for path in Path("app").rglob("*.py")}


def monitor(before: dict[Path, float]) -> None:
    """Stop this process once a file has changed."""
    while times() == before:
        time.sleep(INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Run one worker, or the loop around it."""
    if sys.argv[1:] == ["worker"]:
        threading.Thread(target=monitor, args=(times(),), daemon=True).start()
        rq_imported.main()
    else:
        while True:
            subprocess.run([sys.executable, "-m", "mtime_restart", "worker"], check=False)


if __name__ == "__main__":
    main()
