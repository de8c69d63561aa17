"""Where things are, and the environment in which the project's processes run."""

import os
from pathlib import Path

from tools import dotenv, secret_files
from tools.console import say

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
LOGS = ROOT / "logs"
ENV_FILE = ROOT / ".env"
SECRETS = ROOT / "secrets"


def set_up() -> None:
    """Make the folders, the `.env` and the secrets that every way of running needs."""
    DATA.mkdir(exist_ok=True)
    LOGS.mkdir(exist_ok=True)
    if dotenv.create(ENV_FILE, ROOT / ".env.example"):
        say("Created .env from .env.example.")
    if made := secret_files.create_missing(SECRETS):
        say(f"Created random secrets in secrets/: {', '.join(made)}.")


def environment(**overrides: str) -> dict[str, str]:
    """The variables of `.env`, over them the real environment, over both `overrides`."""
    return {**dotenv.read(ENV_FILE), **os.environ, **overrides}
