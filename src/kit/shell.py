"""`make shell`: a Python prompt with `session`, `settings`, `select` and every model."""

import importlib
import os
import sys

from sqlalchemy import select
from sqlalchemy.orm import Session

from src.kit import production
from src.kit.database.engine import Base, get_engine
from src.kit.running import SRC

__all__ = ["select"]

if __name__ == "__main__":
    settings = production.checked_settings()
    session = Session(get_engine())
    for path in sorted(SRC.glob("*/models.py")):
        importlib.import_module(f"{SRC.name}.{path.parent.name}.models")
    models = {mapper.class_.__name__: mapper.class_ for mapper in Base.registry.mappers}
    globals().update(models)
    if sys.argv[1:2] == ["-c"] and len(sys.argv) > 2:
        exec(sys.argv[2])  # noqa: S102
    elif not sys.stdin.isatty():
        exec(sys.stdin.read())  # noqa: S102
    else:
        sys.stderr.write(
            f"Ready: session, settings, select, {', '.join(models)}. session.commit() saves changes.\n"
        )
        # Python's own prompt, with completion and history, once this has ended.
        os.environ["PYTHONINSPECT"] = "1"
