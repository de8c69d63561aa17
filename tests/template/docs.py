"""The commands in the documentation, so that tests can run them."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import ROOT

STARTS_A_STACK = re.compile(r"^make (dev|prod)\b")
RECURSES = re.compile(r"^make test\b")


def commands(name: str) -> list[str]:
    """The ```sh blocks of a document, in order.

    Left out, since a test starts them itself or is one of them: `make dev`, `make prod`, `make test`.
    """
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    kept = []
    for block in blocks:
        lines = [
            line for line in block.splitlines() if not (STARTS_A_STACK.match(line) or RECURSES.match(line))
        ]
        if lines:
            kept.append("\n".join(lines))
    return kept


def run(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a block as a reader would, on the port that the stack under test has; it has to succeed."""
    command = command.replace("localhost:8000", f"localhost:{environment['API_PORT']}")
    done = subprocess.run(
        ["sh", "-ec", command], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout
