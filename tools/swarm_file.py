"""The files of `make prod` in the form that `docker stack deploy` accepts."""

from collections.abc import Mapping
from typing import Any

from tools import project, secret_files
from tools.docker import secrets_of


def for_swarm(
    config: dict[str, Any], version: str, labels: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """The stack as Swarm accepts it: with its own secrets, and without what only Compose understands.

    Args:
        config: what `docker compose config` prints; its services are changed in place.
        version: the image of our services.
        labels: those of a service, by its name.
    """
    stack, services = config["name"], {**config["services"]}
    image = services["fastapi"]["image"]
    del services["secrets"]
    # A Swarm secret cannot change: new content gets a new name.
    secrets = {
        name: {
            "name": f"{stack}_{name}_{secret_files.digest(project.SECRETS, [name])}",
            "file": str(project.SECRETS / name),
        }
        for name in secret_files.names(project.SECRETS)
    }
    for name, service in services.items():
        for key in ("build", "depends_on", *(key for key in service if service[key] is None)):
            service.pop(key, None)
        for port in service.get("ports", ()):
            port.pop("host_ip", None)  # Swarm publishes on all addresses
            # Not through the routing mesh, which hides the addresses of the clients.
            port |= {"published": int(port["published"]), "mode": "host"}
        deploy, mounts = service.setdefault("deploy", {}), service.get("volumes", [])
        deploy.setdefault("labels", {}).update(labels.get(name, {}))
        limits = deploy.get("resources", {}).get("limits", {})
        limits |= {key: str(limits[key]) for key in ("cpus",) if key in limits}
        for mount in mounts:
            if "size" in mount.get("tmpfs", {}):
                mount["tmpfs"]["size"] = int(mount["tmpfs"]["size"])
        service["secrets"] = secrets_of(service)
        service["volumes"] = [mount for mount in mounts if mount["target"] != "/run/secrets"]
        if service["image"] == image:
            service["image"] = version
    volumes = {name: each for name, each in config["volumes"].items() if not name.startswith("secrets-")}
    kept = {key: config[key] for key in config if key != "name" and not key.startswith("x-")}
    return kept | {"version": "3.13", "services": services, "secrets": secrets, "volumes": volumes}
