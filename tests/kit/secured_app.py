"""A small application behind the checks of `security`, for tests."""

import base64
from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from src.kit import settings
from src.kit.web import security

KEYS = ("c0ffee" * 6, "kéy-" + "c0ffee" * 6)
NO_REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture
def make_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TestClient]]:
    """Makes a client of an application with one route, protected as the given variables say."""

    def make(**environment: str) -> TestClient:
        for name, value in ({"REDIS_URL": NO_REDIS} | environment).items():
            monkeypatch.setenv(name, value)
        settings.get_settings.cache_clear()
        app = FastAPI()

        @app.get("/thing")
        @app.post("/thing")
        def thing() -> str:
            return "here it is"

        @app.get("/health/live")
        def live() -> str:
            return "alive"

        security.install(app)
        return TestClient(app, base_url="http://localhost:8000")

    yield make
    settings.get_settings.cache_clear()


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    """A client of an application that requires a key."""
    return make_client(API_KEYS=",".join(KEYS))


def basic(credentials: str | bytes) -> dict[bytes, bytes]:
    content = credentials.encode() if isinstance(credentials, str) else credentials
    return {b"Authorization": b"Basic " + base64.b64encode(content)}
