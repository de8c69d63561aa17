"""`make lock ARGS=images`, with a real registry, in which the images are empty indexes."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import wait_until
from tests.kit.repository import copy_repository
from tools.ports import free_port

INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a registry that has no image."""
    for program in ("docker", "docker-registry"):
        if not shutil.which(program):
            pytest.skip(f"no {program}")
    address = f"127.0.0.1:{free_port()}"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    config = tmp_path / "registry.json"
    config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with subprocess.Popen(["docker-registry", "serve", config], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(address), 20, "the registry")
            yield address
        finally:
            process.kill()


def _answers(address: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"http://{address}/v2/").is_success
    return False


def test_the_base_images_are_pinned_to_what_their_tags_are_in_the_registry(
    tmp_path: Path, registry: str
) -> None:
    copy_repository(tmp_path / "copy")
    paths = [
        path for name in ("Dockerfile", "docker-compose*.yml") for path in (tmp_path / "copy").glob(name)
    ]
    for path in paths:
        text = re.sub(r"@sha256:\w+", "", path.read_text())
        path.write_text(re.sub(r"(?m)^( *(?:FROM|image:) )(?=[a-z]\S*:)", rf"\g<1>{registry}/", text))
    before = [path.read_text() for path in paths]
    images = {*re.findall(rf"{registry}/(\S+)", "\n".join(before))}
    assert len(images) > 2

    refused = _lock(tmp_path / "copy")
    assert re.match(
        rf"The digest of {registry}/.* is unknown, and nothing was changed: .*not found", refused.stderr
    )
    assert [path.read_text() for path in paths] == before
    for push in ("first", "second"):
        digest = _push(registry, images, push)
        pinned = _lock(tmp_path / "copy")
        assert pinned.returncode == 0, pinned.stderr
        for path, text in zip(paths, before, strict=True):
            assert path.read_text() == re.sub(rf"({registry}/\S+)", rf"\1@{digest}", text)
        assert pinned.stdout.count(f" → {digest}\n") == len(images)
    assert _lock(tmp_path / "copy").stdout.count("  unchanged\n") == len(images)


def _lock(folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"ARGS": "images"}
    return subprocess.run(
        ["make", "lock"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def _push(registry: str, images: set[str], note: str) -> str:
    """Move the tags of the images to an index with this note; return its digest."""
    index = json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"note": note}}
    )
    for image in images:
        name, tag = image.split(":")
        url = f"http://{registry}/v2/{name}/manifests/{tag}"
        assert httpx2.put(url, content=index, headers={"Content-Type": INDEX}).is_success
    return f"sha256:{hashlib.sha256(index.encode()).hexdigest()}"
