"""The terminal's side of `breakpoint()`: shows the prompts of other processes, one after the other.

`make dev` runs it in a thread, and `make attach` in a container: `python -m src.reload.terminal`.
"""

import atexit
import contextlib
import os
import sys
import termios
import threading
from multiprocessing.connection import Listener

from .debugger import ADDRESS, address

WAITING = 64
"""How many processes may wait for their turn."""


def offer(environment: dict[str, str]) -> None:
    """Offer the terminal of this process, if it has one, to the processes with this environment."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        listener = Listener(family="AF_UNIX", backlog=WAITING)
        environment[ADDRESS] = str(listener.address)
        threading.Thread(target=show_prompts, args=(listener,), daemon=True).start()


def show_prompts(listener: Listener) -> None:
    """Show prompts until the process ends."""
    settings = termios.tcgetattr(0)
    atexit.register(termios.tcsetattr, 0, termios.TCSADRAIN, settings)  # it may end at a prompt
    # Ctrl-C and the like are keys of the prompt: as signals they would reach all of `make dev`.
    keys, off = list(settings[6]), os.fpathconf(0, "PC_VDISABLE")
    keys[termios.VINTR] = keys[termios.VQUIT] = keys[termios.VSUSP] = off
    with contextlib.suppress(ImportError):
        import readline

        readline.parse_and_bind('"\\C-c": kill-whole-line')
    while True:
        with listener.accept() as connection, contextlib.suppress(OSError, EOFError):
            if os.tcgetpgrp(0) == os.getpgrp():  # else it runs in the background of its shell
                connection.send_bytes(b"")  # its turn
                while True:
                    shown, _, prompt = connection.recv_bytes().decode().rpartition("\n")
                    print(shown, flush=True)  # noqa: T201
                    termios.tcsetattr(0, termios.TCSADRAIN, [*settings[:6], keys])
                    try:
                        connection.send_bytes(input(prompt).encode())
                    finally:
                        termios.tcsetattr(0, termios.TCSADRAIN, settings)


if __name__ == "__main__":
    try:
        # In all networks of the container: the others may know it in any of them.
        listener = Listener(("", int(address()[1])), backlog=WAITING)
    except OSError as error:
        sys.exit(f"The prompts can't be shown here, perhaps another terminal shows them: {error}.")
    print("Waiting for a breakpoint(). Ctrl-C ends this.", flush=True)  # noqa: T201
    with contextlib.suppress(KeyboardInterrupt):
        show_prompts(listener)
