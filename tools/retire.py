"""Stops containers that a newer version has replaced, and removes them: `python -m tools.retire PROJECT ID…`.

It runs apart from the deployment that has started it, because the job of a worker may take minutes.
"""

import subprocess
import sys
import threading
from collections.abc import Iterable

from tools import docker


def in_background(project: str, containers: Iterable[str]) -> "subprocess.Popen[bytes]":
    """Tell containers to stop, remove each one that has, and at last the images that nothing uses any more.

    Args:
        project: the Compose project, for its images.
        containers: their ids; each is killed after its own `stop_grace_period`.
    """
    ids = [*containers]
    if ids:
        docker.listing("update", "--restart", "no", *ids)  # after a restart of the machine they stay away
    command = [sys.executable, "-m", "tools.retire", project, *ids]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, **docker.APART)


def main(project: str, *containers: str) -> None:
    """Stop and remove the containers, all at the same time."""
    threads = [threading.Thread(target=_remove, args=(container,)) for container in containers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    docker.prune_images(project)


def _remove(container: str) -> None:
    docker.listing("stop", container)
    docker.listing("rm", "--force", container)


if __name__ == "__main__":
    main(*sys.argv[1:])
