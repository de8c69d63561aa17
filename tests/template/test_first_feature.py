"""docs/FIRST_FEATURE.md, followed to the letter in a new service."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.template import service
from tests.template.service import ENVIRONMENT, clone, make_new, run
from tools.ports import free_port

BLOCK = re.compile(r"(?:^`([^`\n]+)`\n\n)?^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_what_the_page_says_works(tmp_path: Path) -> None:
    folder = make_new(clone(service.template(tmp_path / "template"), tmp_path / "clone"))
    service.add_environment(folder)
    port = str(free_port())
    output = tmp_path / "make-dev.log"
    page = (folder / "docs" / "FIRST_FEATURE.md").read_text()
    started: list[subprocess.Popen[bytes]] = []
    try:
        for path, kind, content in BLOCK.findall(page):
            if kind == "python":
                assert path, f"a block without a file name: {content}"
                (folder / path).write_text(content)
            elif content == "make dev\n":
                started.append(dev(folder, output, port))
            else:
                text = content.replace("localhost:8000", f"localhost:{port}")
                run(folder, "sh", "-ec", text)
        assert (folder / "src" / "orders" / "page.py").is_file()
        assert not (folder / "src" / "notes").exists()
        run(folder, "make", "test", "ARGS=tests/orders")
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)


def dev(folder: Path, output: Path, port: str) -> "subprocess.Popen[bytes]":
    """`make dev` in the other terminal, when it is ready."""
    environment = ENVIRONMENT | {"RUNTIME": "native", "API_PORT": port}
    with output.open("wb") as log:
        process = subprocess.Popen(
            ["make", "dev"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    wait_until(lambda: "Ready." in output.read_text() or process.poll() is not None, 120, "make dev")
    assert process.poll() is None, output.read_text()
    return process
