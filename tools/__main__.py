"""The command line: `python -m tools dev API_PORT=8001`, which is what `make dev API_PORT=8001` runs, too."""

import io
import os
import re
import sys

from tools.console import WITHOUT_MAKE, ToolError, say
from tools.project import ROOT
from tools.stack import COMMANDS

_MAKEFILE = ROOT / "Makefile"


def main() -> int:
    """Run the commands that the arguments name, up to one that fails; return its exit code."""
    os.environ.pop(WITHOUT_MAKE, None)
    if "MAKELEVEL" not in os.environ:
        os.environ[WITHOUT_MAKE] = "1"
    # The settings of the make that runs this are not for those that the tests start.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        os.environ.pop(name, None)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Windows has no “ in some of its code pages
            stream.reconfigure(errors="replace")
    try:
        for name in _commands(sys.argv[1:]) or ["help"]:
            if code := _help() if name == "help" else COMMANDS[name]():
                return code
    except ToolError as error:
        say(str(error), sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if "logs" in sys.argv else 130
    return 0


def _commands(arguments: list[str]) -> list[str]:
    """The commands among the arguments; the others, `NAME=value`, become variables of the environment."""
    teaching = [path.read_text("utf-8") for path in (_MAKEFILE, ROOT / ".env.example") if path.is_file()]
    variables = {*re.findall(r"\b([A-Z][A-Z0-9_]*)=", "\n".join(teaching))}
    commands = []
    for argument in arguments:
        name, is_variable, value = argument.partition("=")
        if not is_variable:
            commands.append(name)
        elif name.removesuffix("_FILE") in variables:
            os.environ[name] = value
        else:
            raise ToolError(
                f"There is no variable {name}: the Makefile's first lines and .env.example name all."
            )
    for name in commands:
        if name not in {*COMMANDS, "help"}:
            made = name == "new" and (ROOT / ".template").exists()
            hint = "This clone has already become a service.\n" if made else ""
            raise ToolError(f"{hint}There is no command {name}: `make` lists them.")
    return commands


def _help() -> int:
    """List the commands with what the Makefile says about them."""
    made = "python -m tools" if WITHOUT_MAKE in os.environ else "make"
    for name, text in re.findall(r"(?m)^([a-z0-9-]+):.*?## (.*)$", _MAKEFILE.read_text("utf-8")):
        say(f"{made} {name:10} {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
