"""`make debug`: editors attach to the newest generation, and to the processes of its jobs, with debugpy.

One debug adapter, which is debugpy's own, listens for editors as long as the supervisor runs. Each generation
connects to it once it works, in the background. When the process that an editor debugs has ended, the adapter
asks the editor to attach again, which gets it the next one.
"""

import contextlib
import importlib
import os
import subprocess
import sys
import threading
from typing import Any

from .pause import pause

PORT = "DEBUGPY_ADAPTER_PORT"
"""The environment variable with the port at which the adapter waits for generations."""

LONGEST_WAIT = 5.0
"""Seconds for which a job waits for the breakpoints of an editor that debugs its worker."""

_whole_job = pause()


def start_adapter(noun: str) -> None:
    """In a supervisor, start the adapter if `DEBUGPY_SERVER` or `DEBUGPY_WORKER` (its noun) says where."""
    if place := os.environ.get(f"DEBUGPY_{noun.upper()}"):
        command = [sys.executable, "-m", __name__, place]
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        adapter: Any = subprocess.Popen(command, **pipes, text=True, start_new_session=True)
        os.environ |= {PORT: adapter.stdout.readline().strip(), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        threading.Thread(target=adapter.wait, daemon=True).start()


def _adapt(place: str) -> None:
    """Be the adapter until the supervisor is gone, and with it its end of standard input."""
    # An editor may wait until there is code that can be run.
    os.environ["DEBUGPY_PROCESS_SPAWN_TIMEOUT"] = "0"
    adapter = [f"debugpy.adapter.{name}" for name in ("clients", "servers", "sessions")]
    modules: list[Any] = [importlib.import_module(name) for name in adapter]
    clients, servers, sessions = modules
    attach = clients.Client.attach_request

    def attach_request(client: Any, request: Any) -> Any:
        client.restart_requested = request("restart", False)  # noqa: FBT003  debugpy obeys it with "listen" only
        return attach(client, request)

    clients.Client.attach_request = attach_request
    connect, wait = servers.Connection.__init__, servers.wait_for_connection

    def connected(connection: Any, *arguments: Any) -> None:
        connect(connection, *arguments)
        connection.is_settled = True
        servers._connections_changed.set()

    # A generation that comes while an older one is connected is told to go on, which ends with a detach. An
    # editor that attached meanwhile would be detached as well.
    servers.Connection.__init__ = connected
    servers.wait_for_connection = lambda session, is_right, *timeout: wait(
        session, lambda connection: hasattr(connection, "is_settled") and is_right(connection), *timeout
    )
    sessions.report_sockets = lambda: None  # to an editor that has just gone away it would end the adapter
    host, _, port = place.rpartition(":")
    try:
        clients.serve(host, int(port))
    except OSError as error:
        sys.exit(f"No editor can attach at {place}: {error}. Does another `make debug` run?")
    print(servers.serve("127.0.0.1")[1], flush=True)  # noqa: T201
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it reports editors that go away, with tracebacks
    sys.stdin.read()
    os._exit(0)


def load() -> None:
    """In a generation, import debugpy if it is wanted; it does nothing yet."""
    if os.environ.get(PORT):
        importlib.import_module("debugpy.server.api")


def connect() -> None:
    """Connect this generation to the adapter, in the background."""
    if os.environ.get(PORT):
        threading.Thread(target=_connect, name="editor", daemon=True).start()


def _connect() -> None:
    debugpy = importlib.import_module("debugpy")
    debugpy.configure(subProcess=False)
    with contextlib.suppress(OSError):  # debugpy's adapter may end when an editor crashes
        debugpy.connect(("127.0.0.1", int(os.environ[PORT])))  # returns once an editor has attached


def follow_fork() -> bool:
    """In the forked process of a job, attach the editor of its parent; returns whether there is one.

    Then time stands still for the job.
    """
    pydevd: Any = sys.modules.get("pydevd")
    is_attached = bool(pydevd and pydevd._is_attached())
    if is_attached:
        _whole_job.__enter__()
        # An editor that does not follow must not keep the job waiting.
        skip = threading.Timer(
            LONGEST_WAIT, lambda: setattr(pydevd.get_global_debugger(), "ready_to_run", True)
        )
        skip.daemon = True
        skip.start()
    if pydevd:
        importlib.import_module("_pydev_bundle.pydev_monkey")._on_forked_process(setup_tracing=is_attached)
    return is_attached


if __name__ == "__main__":
    _adapt(sys.argv[1])
