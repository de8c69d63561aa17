"""Production on Docker Compose: `make prod` and `make rollback`."""

import os
from collections.abc import Mapping

from tools import containers, docker, pidfile, ports, ready, release, swarm
from tools.console import ToolError, say
from tools.docker import Compose
from tools.probe import is_strict


def prod(environment: Mapping[str, str]) -> int:
    """Build the code and replace what runs by it, in the background, once it is healthy.

    Raises:
        ToolError: it was refused, or did not work, and what ran before keeps running.
    """
    is_strict(environment)
    compose = Compose("prod")
    port = docker.prepare(compose, environment, "prod")
    with pidfile.only_one_deployment():
        services = compose.config()["services"]
        # The workers and the migration have the image of the API.
        others = {name: service for name, service in services.items() if name not in ("rqworker", "migrate")}
        if compose.run("build", *(name for name, service in others.items() if "build" in service)):
            raise ToolError("The image could not be built, the lines above say why. Nothing was replaced.")
        result = _release(compose, port, migrate=True)
    say(ready.urls(port, environment.get("SITE")))
    say("`make -s api-key` prints its API key, `make logs` shows its log, `make down` stops it.")
    say(result)
    return 0


def rollback() -> int:
    """Bring back the image that ran before the last deployment; a second time, the newer.

    Raises:
        ToolError: there is none, or it does not work and what runs keeps running.
    """
    compose = Compose("prod")
    stack = compose.environment["COMPOSE_PROJECT_NAME"]
    if docker.is_deployed(stack):
        return swarm.rollback()
    if compose.running() != "production":
        raise ToolError("Nothing runs in production here: `make prod` or `make deploy` starts it.")
    image = compose.config()["services"]["fastapi"]["image"]
    before = docker.image_id(containers.previous(image))
    if not before:
        raise ToolError("This is the first version here: check out the one that you want and `make prod`.")
    with pidfile.only_one_deployment():
        docker.listing("tag", before, image)
        result = _release(compose, ports.api_port(compose.environment), migrate=False)
    say("The database and the settings stay as they are.")
    say(result)
    return 0


def _release(compose: Compose, port: int, *, migrate: bool) -> str:
    """Ask the image whether it would start with these settings, and replace what runs by it."""
    image = compose.config()["services"]["fastapi"]["image"]
    deployment = release.Release(compose, image, port=port, is_strict=is_strict(os.environ))
    compose.read("run", "--rm", "--no-TTY", "secrets")
    if compose.run("run", "--rm", "--no-deps", "--no-TTY", "fastapi", "python", "-m", "src.kit.production"):
        deployment.keep_old_name()
        raise ToolError("Fix that and run `make prod` again. Nothing was replaced.")
    try:
        return deployment.run(migrate=migrate)
    except KeyboardInterrupt:
        raise ToolError(
            "Interrupted: what ran before still runs, or the new version does. `make prod` removes the rest."
        ) from None
