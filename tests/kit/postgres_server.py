"""A Postgres for a test or a measurement, where its programs are installed."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.ports import free_port


def find_postgres() -> Path | None:
    """The folder of Postgres' programs: from the PATH, else where Debian keeps them, else None."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    return Path(found).resolve().parent if found else None


@contextmanager
def running_postgres(binaries: Path, directory: Path, *options: str) -> Iterator[str]:
    """Run a Postgres with its data in `directory`, on a free port; the value is the URL of its database.

    Args:
        binaries: what `find_postgres` found.
        directory: must be there, and others must be able to enter it: Postgres refuses to run as root.
        options: settings of the server, as `fsync=off`.
    """
    if not os.geteuid():
        os.chown(directory, pwd.getpwnam("nobody").pw_uid, -1)
    run_as: dict[str, Any] = {} if os.geteuid() else {"user": "nobody"}
    port = free_port()
    settings = [
        "listen_addresses=127.0.0.1",
        f"port={port}",
        f"unix_socket_directories={directory}",
        *options,
    ]
    control = [str(binaries / "pg_ctl"), "-D", str(directory / "data"), "-s", "-w"]
    start = ["-l", str(directory / "log"), "-o", " ".join(f"-c {setting}" for setting in settings), "start"]
    subprocess.run(
        [binaries / "initdb", "-D", directory / "data", "-U", "postgres", "-A", "trust", "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, cwd=directory, **run_as,
    )  # fmt: skip
    subprocess.run([*control, *start], check=True, cwd=directory, **run_as)
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, cwd=directory, **run_as)
