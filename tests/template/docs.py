"""The commands in the documentation, so that tests can run them."""

import re

from tests.conftest import ROOT
from tests.template.running import Running
from tests.template.running import run as shell

LEFT_OUT = re.compile(r"^make (dev|prod|test|new|update)\b")
"""Commands that have tests of their own, or start tests."""


def commands(name: str) -> list[str]:
    """The ```sh blocks of a document, in order, without the lines that are `LEFT_OUT`."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
    kept = ("\n".join(line for line in block.splitlines() if not LEFT_OUT.match(line)) for block in blocks)
    return [block for block in kept if block]


def run(command: str, stack: Running) -> str:
    """Run a block as a reader would, on the port of the stack under test; it has to succeed."""
    command = command.replace("localhost:8000", f"localhost:{stack.port}")
    return shell(stack.folder, "sh", "-ec", command, **stack.environment)
