"""An editor's side of the debug adapter protocol, as far as the tests need it: JSON over TCP."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from tests.conftest import wait_until


class Editor:
    """Attaches to a port, follows forked processes, and attaches again when the adapter asks for it."""

    def __init__(
        self, port: int, file: Path, line: int, remote: str | None = None, *, is_following: bool = True
    ) -> None:
        """Attach, with a breakpoint.

        Args:
            port: of the debug adapter on this machine.
            file: with the breakpoint.
            line: of the breakpoint.
            remote: what the folder of the repository is called where the code runs, if the name differs.
            is_following: whether it attaches to forked processes.
        """
        self._file, self._line = file, line
        self.breakpoints: list[bool] = []
        """For each time that the breakpoint was set, whether it was accepted."""
        self.stopped: list[Session] = []
        self.sessions: list[Session] = []
        self._arguments: dict[str, Any] = {"connect": {"host": "127.0.0.1", "port": port}, "restart": True}
        if remote:
            root = next(each for each in file.parents if (each / "pyproject.toml").exists())
            self._arguments["pathMappings"] = [{"localRoot": str(root), "remoteRoot": remote}]
        self._is_closed = False
        self._is_following = is_following
        self.attach(self._arguments)

    def attach(self, arguments: dict[str, Any]) -> None:
        self.sessions.append(Session(self, arguments))

    def heard(self, session: "Session", event: str, body: dict[str, Any]) -> None:
        """Do what an editor does at an event."""
        if event == "initialized":
            where = {"source": {"path": str(self._file)}, "breakpoints": [{"line": self._line}]}
            session.request("setBreakpoints", where)
            session.request("configurationDone", {})
        elif event == "stopped":
            session.thread = body["threadId"]
            self.stopped.append(session)
        elif event == "debugpyAttach" and self._is_following:
            self.attach(body)
        elif event == "terminated":
            session.request("disconnect", {})
            session.is_restarting = bool(body.get("restart"))

    def gone(self, session: "Session") -> None:
        """The adapter has closed a connection."""
        if session.is_restarting and not self._is_closed:
            self.attach(self._arguments)

    def wait_for_breakpoint(self, count: int = 1) -> None:
        """Wait until the breakpoint has been set in so many processes."""
        wait_until(lambda: len(self.breakpoints) >= count, 15, f"{count} breakpoints")

    def wait_for_stop(self) -> "Session":
        """Wait until a process is at the breakpoint, and take it."""
        wait_until(lambda: self.stopped, 60, "a stop at the breakpoint")
        return self.stopped.pop(0)

    def stop_request(self, ask: Callable[[], "Future[Any]"]) -> tuple["Session", "Future[Any]"]:
        """Ask until a request is at the breakpoint: debugpy looks a moment after an editor has attached."""
        while True:
            answer = ask()
            wait_until(lambda: self.stopped or answer.done(), 30, "a stop, or an answer")  # noqa: B023
            if not answer.done():
                return self.stopped.pop(0), answer

    def close(self) -> None:
        self._is_closed = True
        for session in self.sessions:
            session.close()


class Session:
    """One connection, to one process that is debugged."""

    def __init__(self, editor: Editor, arguments: dict[str, Any]) -> None:
        self.thread = 0
        self.is_restarting = False
        self._editor = editor
        self._count = 0
        self._answers: dict[int, Any] = {}
        self._socket = socket.create_connection(("127.0.0.1", arguments["connect"]["port"]))
        self._reader = self._socket.makefile("rb")
        self.request("initialize", {"adapterID": "debugpy", "clientID": "test", "pathFormat": "path"})
        self.request("attach", arguments)
        threading.Thread(target=self._listen, daemon=True).start()

    def request(self, command: str, arguments: dict[str, Any]) -> int:
        self._count += 1
        request = {"seq": self._count, "type": "request", "command": command, "arguments": arguments}
        content = json.dumps(request).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        return self._count

    def ask(self, command: str, arguments: dict[str, Any]) -> Any:
        """The body of the response to a request."""
        number = self.request(command, arguments)
        wait_until(lambda: number in self._answers, 30, f"the response to {command}")
        return self._answers[number]

    def value(self, expression: str) -> str:
        """The value of an expression where the process has stopped."""
        frame = self.ask("stackTrace", {"threadId": self.thread})["stackFrames"][0]["id"]
        return str(self.ask("evaluate", {"expression": expression, "frameId": frame})["result"])

    def go_on(self) -> None:
        self.ask("continue", {"threadId": self.thread})

    def _listen(self) -> None:
        try:
            while header := self._reader.readline():
                length = int(header.partition(b":")[2])
                self._reader.readline()
                message = json.loads(self._reader.read(length))
                if message["type"] == "event":
                    self._editor.heard(self, message["event"], message.get("body") or {})
                elif message["type"] == "response":
                    self._answers[message["request_seq"]] = message.get("body") or {}
                    if message["command"] == "setBreakpoints" and message["success"]:
                        self._editor.breakpoints.append(message["body"]["breakpoints"][0]["verified"])
        except (OSError, ValueError):
            return  # closed by the test
        self._editor.gone(self)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
