"""A PgBouncer for a test, where it is installed."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.kit.processes import running
from tests.kit.services import wait_until
from tools.ports import free_port


@contextmanager
def running_pgbouncer(url: str, connections: int) -> Iterator[str]:
    """Run a PgBouncer in transaction mode; the value is the URL of the same database through it.

    Args:
        url: the database, whose server asks for no password.
        connections: that it opens to the server, for all clients together.
    """
    pgbouncer = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if not pgbouncer:
        pytest.skip("no PgBouncer: install pgbouncer")
    behind, port = make_url(url), free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as name:
        folder = Path(name)
        (folder / "users").write_text(f'"{behind.username}" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={behind.host} port={behind.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder}/users\n"
            f"pool_mode = transaction\ndefault_pool_size = {connections}\nserver_idle_timeout = 1\n"
        )
        folder.chmod(0o755)
        run_as: dict[str, Any] = {} if os.geteuid() else {"user": "nobody"}  # it refuses to run as root
        with running([pgbouncer, folder / "pgbouncer.ini"], folder / "log", **run_as) as process:
            wait_until(lambda: process.poll() is not None or _listens(port), 10, "PgBouncer")
            assert process.poll() is None, (folder / "log").read_text()
            yield behind.set(port=port).render_as_string(hide_password=False)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
