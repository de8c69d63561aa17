"""The same command line, with a reload that hands over."""

import argparse
import importlib
import importlib.util
import logging
import os
import re
import shutil
import sys
from pathlib import Path

READY = """what shows that the new program is ready: port:NUMBER, file:PATH, or a regular expression for a
    line of its output; by default, that it has run for two seconds"""

READY_TIMEOUT = 60.0
"""Seconds."""


def main() -> None:
    """Run a command, and replace it without a gap when the code changes.

    Raises:
        SystemExit: with the exit code of the command or of `Supervisor.run`.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    add = parser.add_argument
    add(
        "--watch", metavar="DIR", type=Path, action="append", default=[], help="the code; by default all here"
    )
    add(
        "--import", metavar="MODULE", dest="modules", action="append", default=[], help="what rq worker loads"
    )
    add("--ready", metavar="SIGN", default="", help=READY)
    add("--ready-timeout", metavar="SECONDS", type=float, help=f"for this; by default {READY_TIMEOUT:g}")
    add("command", metavar="COMMAND…", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    name, *arguments = options.command or [""]
    is_worker = options.command[:2] == ["rq", "worker"]
    is_known = is_worker or name in ("fastapi", "uvicorn")
    try:
        re.compile(options.ready)
    except re.error as error:
        parser.error(f"--ready {options.ready}: not a regular expression, {error}")
    if re.match("port:(?![0-9]+$)", options.ready):
        parser.error(f"--ready {options.ready}: not port:NUMBER")
    if options.ready_timeout is not None and not options.ready:
        parser.error("--ready-timeout needs --ready")
    patience = READY_TIMEOUT if options.ready_timeout is None else options.ready_timeout
    if not patience > 0:  # NaN is not, either
        parser.error(f"--ready-timeout {patience:g}: not more than 0 seconds")
    if (options.ready and is_known) or (options.modules and not is_worker):
        parser.error(f"{name} needs no {'--ready' if options.ready else '--import'}")
    for folder in options.watch:
        if not folder.is_dir():
            parser.error(f"--watch {folder}: not a folder")
    if is_known and not importlib.util.find_spec(name):
        parser.error(f"{name} is not installed for {sys.executable}")
    if is_worker:
        from . import rq_reload

        work = (arguments, options.modules)
        rq_reload.parse(arguments, lambda: _supervise("rq_reload:work", work, "worker", options.watch))
    elif is_known:
        try:
            _serve(name, arguments, options.watch)
        except OverflowError as error:  # there is no such port
            parser.error(f"{name}: {error}")
    else:
        folders = (os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath))
        program = shutil.which(name, path=os.pathsep.join(folders))
        if not program:
            parser.error(f"there is no program {name!r}; the command may be: uvicorn main:app")
        noun = "program" if "python" in name else os.path.basename(name)
        command = ([program, *arguments], noun, options.ready, patience)
        _supervise("command:run", command, noun, options.watch)


def _serve(name: str, arguments: list[str], watch: list[Path]) -> None:
    """Run the command line of uvicorn or FastAPI, with `HandOverReload` as uvicorn's reloader."""
    from .uvicorn_reload import HandOverReload

    # By name, because the attribute uvicorn.main is the command.
    importlib.import_module("uvicorn.main").ChangeReload = HandOverReload  # type: ignore[attr-defined]
    # Our log lines go where uvicorn's own go.
    logging.getLogger(__package__).parent = logging.getLogger("uvicorn")
    if not {"--reload", "--no-reload"}.intersection(arguments):
        arguments.append("--reload")
    sys.argv = [name, *arguments, *(word for each in watch for word in ("--reload-dir", str(each)))]
    importlib.import_module("uvicorn.main" if name == "uvicorn" else "fastapi.cli").main()


def _supervise(target: str, arguments: tuple[object, ...], noun: str, watch: list[Path]) -> None:
    from .supervisor import Supervisor

    logger = logging.getLogger(__package__)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s reload: %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    target = f"{__package__}.{target}"
    supervisor = Supervisor(target, watch or [Path()], arguments=arguments, noun=noun, cleans_up=True)
    sys.exit(supervisor.run())


if __name__ == "__main__":
    main()
