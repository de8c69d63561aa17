"""`python -m tools` on Docker without make, and without what Windows does not have."""

import copy
from collections.abc import Iterator

import pytest

from tests.kit.repository import copy_repository
from tests.template.running import Running
from tests.tools.windows import TOOLS, windows
from tools import secret_files

SERVICES = ("fastapi", "rqworker", "redis", "postgres")


@pytest.fixture(scope="module")
def desktop(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A clone as on Windows: an editor there has saved `.env`, and containers may write where they like."""
    folder = tmp_path_factory.mktemp("für Windows") / "a clone"  # Buildx refuses umlauts in the last part
    copy_repository(folder)
    running = Running(folder, "", APP_IMAGE=image)
    running.command = TOOLS
    running.environment |= windows(folder.parent / "programs", "docker", "git")
    port = running.environment.pop("API_PORT")
    (folder / ".env").write_bytes(f"\ufeffAPI_PORT={port}\r\n# A comment\r\nLOG_LEVEL=info\r\n".encode())
    (folder / "logs").chmod(0o777)
    yield running
    running.stop()


def test_development_starts_and_reads_a_file_of_windows(desktop: Running) -> None:
    desktop.start("dev", "Ready.\n  Page")
    assert desktop.output().startswith("Runtime: docker (a Docker daemon answers")
    assert "an earlier secrets" not in desktop.output()
    assert desktop.wait_for_code(workers=1)["environment"] == "development"
    (container,) = desktop.containers("fastapi")
    assert container["Config"]["User"] == "1000:1000", "this machine's user is not known"
    assert "LOG_LEVEL=info" in container["Config"]["Env"]


def test_what_it_creates_has_the_line_breaks_of_linux(desktop: Running) -> None:
    made = {name: (desktop.folder / "secrets" / name).read_bytes() for name in secret_files.NAMES}
    assert all(len(content) == 65 and content.endswith(b"\n") for content in made.values())


def test_logs_follows_until_ctrl_c(desktop: Running) -> None:
    reader = copy.copy(desktop)
    reader.log = desktop.log.with_suffix(".logs")
    reader.start("logs", "Started reloader process [1] using WatchFiles")
    assert reader.interrupt() == 0


def test_ctrl_c_stops_the_containers_in_order(desktop: Running) -> None:
    before = len(desktop.output())
    assert desktop.interrupt() == 0
    assert "Stopping: the worker may finish its job." in desktop.output()[before:]
    assert not any(desktop.containers(service, ended=True) for service in SERVICES)


def test_production_starts_with_the_same_secrets_and_down_stops_it(desktop: Running) -> None:
    output = desktop.make("prod")
    assert "`python -m tools -s" not in output
    assert "`python -m tools api-key` prints its API key" in output
    assert desktop.wait_for_code(workers=3)["environment"] == "production"
    key = (desktop.folder / "secrets" / secret_files.API_KEYS).read_text("ascii")
    assert desktop.make("api-key") == key
    desktop.make("down")
    assert not any(desktop.containers(service, ended=True) for service in SERVICES)
