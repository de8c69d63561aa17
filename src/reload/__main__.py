"""`python -m src.reload uvicorn …`: uvicorn's own command line, with a reload that hands over."""

import importlib
import logging
import sys

from .uvicorn_reload import HandOverReload

USAGE = "Put it in front of uvicorn's command line: python -m src.reload uvicorn src.main:app --reload\n"


def main() -> None:
    """Run uvicorn's command line, with `HandOverReload` in the place of its reloader."""
    if sys.argv[1:2] != ["uvicorn"]:
        sys.stderr.write(USAGE)
        sys.exit(2)
    # By its name, because uvicorn.main is the command as well.
    uvicorn = importlib.import_module("uvicorn.main")
    uvicorn.ChangeReload = HandOverReload  # type: ignore[attr-defined]
    # What the hand-over says goes where uvicorn's own lines go.
    logging.getLogger(__package__).parent = logging.getLogger("uvicorn")
    uvicorn.main(sys.argv[2:], prog_name="uvicorn")


if __name__ == "__main__":
    main()
