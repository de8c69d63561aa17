"""Where things are, and the environment in which the project's processes run."""

import os
import shutil
from pathlib import Path

from tools import dotenv
from tools.console import say

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
LOGS = ROOT / "logs"
ENV_FILE = ROOT / ".env"
# There from the moment that .env is made until the database has been told its new password.
NEW_SECRETS = DATA / "new-secrets"


def set_up() -> None:
    """Make the folders and the `.env` that every way of running needs."""
    DATA.mkdir(exist_ok=True)
    LOGS.mkdir(exist_ok=True)
    if dotenv.create(ENV_FILE, ROOT / ".env.example"):
        NEW_SECRETS.touch()
        say("Created .env from .env.example, with random secrets.")


def environment(**overrides: str) -> dict[str, str]:
    """The variables of `.env`, over them the real environment, over both `overrides`."""
    return {**dotenv.read(ENV_FILE), **os.environ, **overrides}


def has_command(name: str) -> bool:
    """Whether a program is on the PATH."""
    return shutil.which(name) is not None
