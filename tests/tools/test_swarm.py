"""How `make deploy` names an image."""

import pytest

from tools.swarm import name_version

IDENTITY = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("order-service", "order-service:0123456789ab"),
        ("order-service:latest", "order-service:0123456789ab"),
        ("team/app", "team/app:0123456789ab"),
        ("registry.example.com:5000/team/app", "registry.example.com:5000/team/app:0123456789ab"),
        ("registry.example.com:5000/team/app:1.2", "registry.example.com:5000/team/app:0123456789ab"),
    ],
)
def test_an_image_is_named_after_its_content(image: str, version: str) -> None:
    assert name_version(image, IDENTITY) == version
