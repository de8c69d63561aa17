"""docs/FIRST_FEATURE.md, followed to the letter in a new service."""

import re
import shutil
from pathlib import Path

import pytest

from tests.kit.repository import add_environment
from tests.template import docs
from tests.template.running import Running

BLOCK = re.compile(r"(?:^`([^`\n]+)`\n\n)?^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_what_the_page_says_works(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "service"
    shutil.copytree(made, folder)
    add_environment(folder)
    service = Running(folder, "native")
    try:
        for path, kind, content in BLOCK.findall((folder / "docs" / "FIRST_FEATURE.md").read_text()):
            if kind == "python":
                assert path, f"a block without a file name: {content}"
                (folder / path).write_text(content)
            elif content == "make dev\n":
                service.start("dev", "Ready.")
            else:
                docs.run(content, service)
        assert service.foreground, "the page starts the stack"
        assert (folder / "src" / "orders" / "page.py").is_file()
        assert not (folder / "src" / "notes").exists()
        service.make("test", ARGS="tests/orders")
    finally:
        service.stop()
