"""What the production guide tells to type works, on Docker."""

from tests.template import docs
from tests.template.docker.running import Running


def test_the_commands_of_the_production_guide_work(clone: Running) -> None:
    clone.make("prod", seconds=300)
    for command in docs.commands("docs/PRODUCTION.md"):
        docs.run(command, clone.folder, clone.environment)
    assert clone.containers("fastapi") == []
