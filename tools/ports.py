"""TCP ports: which one the API uses, and whether it is free."""

import socket
import sys
from collections.abc import Mapping

from tools.console import ToolError


def api_port(environment: Mapping[str, str]) -> int:
    """The port from API_PORT, 8000 if unset.

    Raises:
        ToolError: it is not the number of a port.
    """
    text = environment.get("API_PORT") or "8000"
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise ToolError(
            f"API_PORT={text} is not a port: use a number from 1 to 65535, such as API_PORT=8001."
        )
    return int(text)


def require_free(port: int, target: str) -> None:
    """Raise a ToolError that says what to do if another program listens on `port`."""
    for host in ("0.0.0.0", "127.0.0.1"):  # noqa: S104 (bound for a moment, never listened on)
        with socket.socket() as probe:
            if sys.platform != "win32":  # where it would share the port with the program that has it
                # Otherwise connections that have just ended would make the port look taken.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except PermissionError:
                raise ToolError(
                    f"Port {port} is reserved for the system: use another one, `make {target} API_PORT=8001`."
                ) from None
            except OSError:
                other = 8001 if port != 8001 else 8002
                raise ToolError(
                    f"Port {port} is taken by another program: stop it, "
                    f"or use another port, `make {target} API_PORT={other}`."
                ) from None


def is_free(port: int) -> bool:
    """Whether no program listens on `port`, and this one may."""
    try:
        require_free(port, "")
    except ToolError:
        return False
    return True


def free_port() -> int:
    """A port on 127.0.0.1 that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
