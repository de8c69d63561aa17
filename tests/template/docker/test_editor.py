"""The dev container: the compose files of .devcontainer, started as editors start them."""

from tests.template.running import Running, edit, run

FILES = ("docker-compose.yml", "docker-compose.dev.yml", ".devcontainer/docker-compose.yml")


def test_an_editor_in_the_container_of_the_api_has_the_whole_clone_and_its_saves_are_live(
    clone: Running,
) -> None:
    for name in ("logs", "src"):
        (clone.folder / name).chmod(0o777)  # containers run as user 1000
    files = [part for name in FILES for part in ("-f", str(clone.folder / name))]
    compose = ("docker", "compose", "--project-name", clone.project, *files)
    run(clone.folder, *compose, "up", "-d", "--build", "--wait", "fastapi", "rqworker", **clone.environment)
    clone.wait_for_code(workers=1)
    inside = (*compose, "exec", "-T", "--workdir", "/app", "fastapi")
    script = "id -un && git --version && make && touch src/added.py && command -v redis-server"
    output = run(clone.folder, *inside, "sh", "-c", script, **clone.environment)
    assert output.startswith("developer\ngit version")
    assert "make dev " in output
    assert (clone.folder / "src" / "added.py").stat().st_uid == 1000
    edit(clone.folder / "src" / "progress_manager.py", "\n# changed in the editor\n")
    clone.wait_for_code(workers=1)
