"""`python -m src.reload uvicorn …`: uvicorn's own command line, with a reload that hands over."""

import importlib
import logging
import sys

from .uvicorn_reload import HandOverReload

USAGE = f"Put it in front of uvicorn's command line: python -m {__package__} uvicorn main:app --reload\n"


def main() -> None:
    """Run uvicorn's command line, with `HandOverReload` as its reloader."""
    if sys.argv[1:2] != ["uvicorn"]:
        sys.stderr.write(USAGE)
        sys.exit(2)
    # By name, because the attribute uvicorn.main is the command.
    uvicorn = importlib.import_module("uvicorn.main")
    uvicorn.ChangeReload = HandOverReload  # type: ignore[attr-defined]
    # Our log lines go where uvicorn's own go.
    logging.getLogger(__package__).parent = logging.getLogger("uvicorn")
    uvicorn.main(sys.argv[2:], prog_name="uvicorn")


if __name__ == "__main__":
    main()
