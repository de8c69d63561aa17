"""Who may use the API: host names and origins. `test_api_keys.py` is about keys."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.kit.secured_app import KEYS, basic, client, make_client

__all__ = ["client", "make_client"]

OWN_PAGES: list[dict[bytes, bytes]] = [
    {b"Sec-Fetch-Site": b"same-origin"},
    {b"Sec-Fetch-Site": b"none"},
    {b"Origin": b"http://localhost:8000"},
    {b"Origin": b"https://LOCALHOST:8000"},  # behind a proxy with TLS
]
FOREIGN_PAGES: list[dict[bytes, bytes]] = [
    {},
    {b"Sec-Fetch-Site": b"cross-site"},
    {b"Sec-Fetch-Site": b"same-site", b"Origin": b"http://localhost:8000"},
    {b"Sec-Fetch-Site": b"", b"Origin": b"http://evil.test"},
    {b"Origin": b"http://localhost:8001"},
    {b"Origin": b"http://localhost"},
    {b"Origin": b"http://localhost:8000.evil.test"},
    {b"Origin": b"localhost:8000"},
    {b"Origin": b"null"},
    {b"Origin": b""},
    {b"Origin": b"", b"Host": b""},
    {b"Referer": b"http://localhost:8000/"},
]


@pytest.mark.parametrize(
    ("headers", "status"), [(each, 200) for each in OWN_PAGES] + [(each, 403) for each in FOREIGN_PAGES]
)
def test_only_pages_of_this_host_can_use_the_password_of_the_browser(
    make_client: Callable[..., TestClient], headers: dict[bytes, bytes], status: int
) -> None:
    """`test_csrf.py` tries it with a browser."""
    client = make_client(API_KEYS=KEYS[0], ALLOWED_HOSTS="*")
    password, key = basic(f":{KEYS[0]}"), {b"X-API-Key": KEYS[0].encode()}
    for method in ("POST", "PUT", "MKCOL"):
        answer = client.request(method, "/thing", headers=headers | password)
        assert answer.status_code == (status if status == 403 or method == "POST" else 405)
        assert status == 200 or "X-API-Key" in answer.json()["detail"]
    assert client.get("/thing", headers=headers | password).status_code == 200, "looking changes nothing"
    assert client.post("/thing", headers=headers | key).status_code == 200, "no browser adds this one"


KNOWN = [
    "localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:80", "[::1]", "[::1]:8000", "fastapi:8000",
    "a.example.com",
]  # fmt: skip
FOREIGN = [
    "evil.test", "", "localhost.evil.test", "evil.test:8000", "localhost:evil", "[::1", "::1",
    "localhost@evil", "\xff",
]  # fmt: skip


@pytest.mark.parametrize("host", KNOWN)
def test_a_known_host_is_answered(make_client: Callable[..., TestClient], host: str) -> None:
    client = make_client(ALLOWED_HOSTS="localhost, 127.0.0.1, [::1], fastapi, *.Example.com")
    assert client.get("/thing", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_a_foreign_host_is_a_400_that_says_what_to_do(
    make_client: Callable[..., TestClient], host: str
) -> None:
    response = make_client().get("/thing", headers={b"Host": host.encode("latin-1")})
    assert response.status_code == 400
    assert response.headers["Content-Type"] == "application/problem+json"
    assert "ALLOWED_HOSTS" in response.json()["detail"]


@pytest.mark.parametrize("host", ["example.com", "evilexample.com"])
def test_a_wildcard_matches_only_names_below_it(make_client: Callable[..., TestClient], host: str) -> None:
    client = make_client(ALLOWED_HOSTS="*.example.com")
    assert client.get("/thing", headers={"Host": host}).status_code == 400


def test_no_page_of_another_origin_may_read_unless_it_is_listed(
    make_client: Callable[..., TestClient],
) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    answer = make_client(API_KEYS=KEYS[0]).options("/thing", headers=asked)
    assert "Access-Control-Allow-Origin" not in answer.headers

    client = make_client(CORS_ORIGINS="https://a.example,https://b.example")
    asked["Access-Control-Request-Headers"] = "X-API-Key"
    answer = client.options("/thing", headers=asked)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://a.example")
    refused = client.get("/thing", headers={"Origin": "https://a.example"})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, "https://a.example")
    foreign = client.get("/thing", headers={"Origin": "https://c.example", "X-API-Key": KEYS[0]})
    assert "Access-Control-Allow-Origin" not in foreign.headers
