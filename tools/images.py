"""The digests of base images in the Dockerfile and the compose files: `make lock ARGS=images`."""

import json
import re
import shutil
import subprocess

from tools.console import ToolError, say
from tools.project import ROOT

_IMAGE = re.compile(r"(?m)^( *(?:FROM|image:) )([\w./:-]+:[\w.-]+)(?:@(sha256:\w+))?(?=\s|$)")


def pin() -> int:
    """Pin each image that comes from a registry to the digest that its tag has there now.

    Raises:
        ToolError: a registry does not say it; nothing was changed.
    """
    if not shutil.which("docker"):
        raise ToolError("This asks the registries with `docker buildx`: install Docker.")
    files = [*ROOT.glob("Dockerfile"), *ROOT.glob("docker-compose*.yml")]
    texts = {path: path.read_bytes().decode() for path in files}
    pinned = {name: digest for text in texts.values() for _, name, digest in _IMAGE.findall(text)}
    digests = {name: _digest(name) for name in sorted(pinned)}
    for path, text in texts.items():
        text = _IMAGE.sub(lambda found: f"{found[1]}{found[2]}@{digests[found[2]]}", text)
        path.write_bytes(text.encode())  # with the line endings that it has
    for name, digest in digests.items():
        say(f"{name}  {pinned[name] or 'new'} → {digest}" if pinned[name] != digest else f"{name}  unchanged")
    say("Run `make test-all`, then commit the Dockerfile and the compose files.")
    return 0


def _digest(name: str) -> str:
    command = ["docker", "buildx", "imagetools", "inspect", name, "--format", "{{json .Manifest}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().removeprefix("ERROR: ")
        raise ToolError(f"The digest of {name} is unknown, and nothing was changed: {reason}")
    return str(json.loads(done.stdout)["digest"])
