"""Which API keys are accepted, for what, and how often wrong ones are."""

import socket
from collections.abc import Callable

import pytest
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from redis import Redis
from starlette.websockets import WebSocketDisconnect

from src.kit.web import wrong_keys
from src.kit.web.observer import RequestObserver
from tests.kit.secured_app import KEYS, basic, client, make_client

__all__ = ["client", "make_client"]

PATHS = (
    "/", "/version", "/docs", "/openapi.json", "/api/v1/nowhere", "/health", "/health/live/", "/HEALTH/LIVE",
)  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_every_key_works_in_the_header_and_as_a_password(client: TestClient, key: str) -> None:
    assert client.get("/thing", headers={b"X-API-Key": key.encode()}).status_code == 200
    for user in ("", "anybody"):
        assert client.get("/thing", headers=basic(f"{user}:{key}")).status_code == 200
    assert client.get("/thing", headers={b"X-API-Key": b"wrong", **basic(f":{key}")}).status_code == 200


def test_without_keys_the_api_is_open(make_client: Callable[..., TestClient]) -> None:
    assert make_client().get("/thing").status_code == 200


def test_anything_else_is_a_401_that_says_what_to_send(client: TestClient) -> None:
    """`test_hostile_keys.py` tries many other headers."""
    for headers in ({}, {b"X-API-Key": b"wrong"}, basic(b"\xff:\xfe\x00")):
        response = client.get("/thing", headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic ")
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "X-API-Key" in response.json()["detail"]


def test_who_sends_too_many_wrong_keys_has_to_wait(
    make_client: Callable[..., TestClient], redis_url: str
) -> None:
    key = {"X-API-Key": KEYS[0]}
    wrong: list[dict[bytes, bytes]] = [{b"X-API-Key": b"wrong"}, basic(":wrong")]
    first = make_client(API_KEYS=KEYS[0], REDIS_URL=redis_url)
    second = TestClient(first.app, base_url="http://localhost")  # as another process
    for number in range(wrong_keys.LIMIT):
        client = first if number % 3 else second
        assert client.get("/thing", headers=wrong[number % 2]).status_code == 401
        assert client.get("/thing", headers=key).status_code == 200, "it does not count"
    for client in (first, second):
        refused = client.get("/thing", headers=wrong[0])
        assert (refused.status_code, refused.headers["Content-Type"]) == (429, "application/problem+json")
        assert 0 < int(refused.headers["Retry-After"]) <= wrong_keys.PERIOD
        assert client.get("/thing", headers=key).status_code == 200, "it may be of somebody else"
        assert client.get("/thing").status_code == 401
    elsewhere = TestClient(first.app, base_url="http://localhost", client=("10.0.0.2", 50000))
    assert elsewhere.get("/thing", headers=wrong[0]).status_code == 401
    with Redis.from_url(redis_url) as redis:
        redis.expire("wrong-keys:testclient", 0)  # as if the minute was over
    assert first.get("/thing", headers=wrong[0]).status_code == 401


def test_without_redis_nobody_is_locked_out(make_client: Callable[..., TestClient]) -> None:
    client = make_client(API_KEYS=KEYS[0])
    for _ in range(wrong_keys.LIMIT + 1):
        assert client.get("/thing", headers={"X-API-Key": "wrong"}).status_code == 401
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = make_client(API_KEYS=KEYS[0], REDIS_URL=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        assert client.get("/thing", headers={"X-API-Key": "wrong"}).status_code == 401


def test_a_key_for_reading_changes_nothing_and_says_what_it_would_take(
    make_client: Callable[..., TestClient],
) -> None:
    client = make_client(API_KEYS=f"grafana:read:{KEYS[0]},deployment:write:{KEYS[1]}")
    same = {b"Sec-Fetch-Site": b"same-origin"}
    for reads in ({b"X-API-Key": KEYS[0].encode()}, basic(f":{KEYS[0]}") | same):
        assert client.get("/thing", headers=reads).status_code == 200
        assert client.options("/thing", headers=reads).status_code == 405, "it comes through"
        for method in ("POST", "PUT", "MKCOL"):
            refused = client.request(method, "/thing", headers=reads)
            assert (refused.status_code, refused.headers["Content-Type"]) == (403, "application/problem+json")
            assert "needs `write`" in refused.json()["detail"]
    for writes in ({b"X-API-Key": KEYS[1].encode()}, basic(f":{KEYS[1]}") | same):
        assert client.get("/thing", headers=writes).status_code == 200
        assert client.post("/thing", headers=writes).status_code == 200
    for entry in (f"grafana:read:{KEYS[0]}", f"read:{KEYS[0]}", "grafana", "read"):
        assert client.get("/thing", headers={"X-API-Key": entry}).status_code == 401


def test_the_access_log_names_the_key(
    make_client: Callable[..., TestClient], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_client(API_KEYS=f"grafana:read:{KEYS[0]},{KEYS[1]}", ENVIRONMENT="production").app
    client = TestClient(RequestObserver(app), base_url="http://localhost")
    with caplog.at_level("INFO", "src.access"):
        client.get("/thing", headers={"X-API-Key": KEYS[0]})
        client.post("/thing", headers={"X-API-Key": KEYS[0]})
        client.get("/thing", headers={b"X-API-Key": KEYS[1].encode()})
        client.get("/thing", headers={"X-API-Key": "grafana"})
    logged = [vars(record) for record in caplog.records if record.name == "src.access"]
    assert [each.get("key_name") for each in logged] == ["grafana", "grafana", None, None]
    assert [each["status"] for each in logged] == [200, 403, 200, 401]
    assert "c0ffee" not in repr(logged)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_but_health_needs_a_key(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"X-API-Key": KEYS[0]}).status_code != 401


def test_health_needs_no_key_and_answers_at_any_address(client: TestClient) -> None:
    assert client.get("/health/live", headers={"Host": "10.1.2.3:8000"}).status_code == 200


def test_a_websocket_needs_a_key_too(make_client: Callable[..., TestClient]) -> None:
    client = make_client(API_KEYS=KEYS[0])
    app = client.app
    assert isinstance(app, FastAPI)

    @app.websocket("/socket")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("ws://localhost/socket"):
        pass
    assert refused.value.code == 1008
    key, password = {"X-API-Key": KEYS[0]}, {"Authorization": basic(f":{KEYS[0]}")[b"Authorization"].decode()}
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("ws://localhost/socket", headers=password | {"Origin": "http://evil.test"}),
    ):
        pass
    for headers in (key, password | {"Origin": "http://localhost"}):
        with client.websocket_connect("ws://localhost/socket", headers=headers) as connection:
            assert connection.receive_text() == "hello"


def test_the_documentation_has_a_field_for_the_key(client: TestClient) -> None:
    schema = client.get("/openapi.json", headers={"X-API-Key": KEYS[0]}).json()
    schemes = schema["components"]["securitySchemes"]
    assert (schemes["ApiKey"]["name"], schemes["Basic"]["scheme"]) == ("X-API-Key", "basic")
    assert schema["security"] == [{"ApiKey": []}, {"Basic": []}]
    assert schema["paths"]["/health/live"]["get"]["security"] == []
    assert "security" not in schema["paths"]["/thing"]["get"]


def test_without_keys_the_documentation_says_that_none_is_needed(
    make_client: Callable[..., TestClient],
) -> None:
    security = make_client().get("/openapi.json").json()["security"]
    assert security == [{}, {"ApiKey": []}, {"Basic": []}]
