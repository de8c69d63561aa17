"""Access to the API: its host names, the pages that may use it, and API keys."""

import base64
import binascii
import re
from collections.abc import Iterable
from hmac import compare_digest
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from src.kit.settings import ApiKey, get_settings
from src.kit.web import problems, wrong_keys

OPEN_PATHS = frozenset({"/health/live", "/health/ready"})
"""For orchestrators and load balancers, which use an address and have no key."""

HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::\d*)?")
"""The Host header (RFC 9112): a name or an address, in brackets if it has colons, and maybe a port."""

PAGE_POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of a page: nothing that came with a file or a job can run in it."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE = {"WWW-Authenticate": 'Basic realm="API key as the password", charset="UTF-8"'}

SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Basic": {
        "type": "http",
        "scheme": "basic",
        "description": "Any user name, the API key as the password.",
    },
}


def install(app: FastAPI) -> None:
    """Protect an application; call it after adding other middleware, so that this is outside."""
    app.add_middleware(ApiKeys)
    if origins := get_settings().cors_origins:
        # Outside ApiKeys: a browser's preflight request has no key.
        app.add_middleware(
            CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], max_age=600
        )
    app.add_middleware(AllowedHosts)
    make_schema = app.openapi

    def openapi() -> dict[str, Any]:
        schema = make_schema()
        problems.name_media_type(schema)
        schema.setdefault("components", {})["securitySchemes"] = SCHEMES
        optional: list[dict[str, list[str]]] = [] if get_settings().api_keys else [{}]
        schema["security"] = optional + [{name: []} for name in SCHEMES]
        for path in OPEN_PATHS & schema["paths"].keys():
            for operation in schema["paths"][path].values():
                operation["security"] = []
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


class AllowedHosts:
    """ASGI middleware: refuses host names that are not in `ALLOWED_HOSTS`.

    Otherwise a foreign page could reach the API under its own name (DNS rebinding), and links built from the
    name would lead there. Starlette's own middleware doesn't say how to fix the error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or _is_allowed(scope):
            await self.app(scope, receive, send)
            return
        detail = (
            "This server does not answer under the host name of this request; add the name to ALLOWED_HOSTS, "
            "separated by commas."
        )
        await _refuse(400, detail, scope, receive, send)


def _is_allowed(scope: Scope) -> bool:
    hosts = _values(scope, b"host")
    match = HOST.fullmatch(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else None
    host = match[1] if match else ""
    if host and host == (get_settings().site or "").lower():
        return True
    return any(
        pattern in ("*", host) or (pattern.startswith("*.") and host.endswith(pattern[1:]))
        for pattern in map(str.lower, get_settings().allowed_hosts)
    )


class ApiKeys:
    """ASGI middleware: requires one of `API_KEYS`, as `X-API-Key` or as the password of HTTP Basic.

    It answers before it reads any of the body. Without keys, as in development, everyone has access. The name
    of the key is `key_name` in the scope, for the access log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        keys = get_settings().api_keys
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or not keys:
            await self.app(scope, receive, send)
            return
        in_header, in_password = _find(_values(scope, b"x-api-key"), keys), _find(_passwords(scope), keys)
        key = in_header or in_password
        is_safe = scope.get("method") in SAFE_METHODS  # a WebSocket is not
        if not key:
            await _refuse_wrong_key(scope, receive, send)
            return
        scope["key_name"] = key.name
        if not is_safe and key.scope == "read":
            detail = "This API key has the scope `read`; a request that can change anything needs `write`."
            await _refuse(403, detail, scope, receive, send)
        elif not is_safe and not in_header and not _is_same_origin(scope):
            detail = (
                "With the password of HTTP Basic, only pages of this host can change anything. Programs send "
                "the key in the header X-API-Key; a proxy has to pass on the headers Host and Origin."
            )
            await _refuse(403, detail, scope, receive, send)
        else:
            await self.app(scope, receive, send)


async def _refuse_wrong_key(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request without a valid key; one with a wrong key counts, as a browser first sends none.

    A valid key works even then: behind a proxy or Docker's network, all clients may have the same address.
    """
    has_key = _values(scope, b"x-api-key") or _values(scope, b"authorization")
    client = scope.get("client")
    if has_key and client and (seconds := await wrong_keys.seconds_to_wait(client[0])):
        detail = f"Too many wrong API keys came from this address; try again in {seconds} seconds."
        await _refuse(429, detail, scope, receive, send, {"Retry-After": str(seconds)})
        return
    detail = "A valid API key is required, in the header X-API-Key or as the password of HTTP Basic."
    await _refuse(401, detail, scope, receive, send, CHALLENGE)


def _is_same_origin(scope: Scope) -> bool:
    """Whether a page of this host has caused the request, or its user.

    A browser adds the password by itself, whichever page it is. Over plain HTTP it only sends the origin.
    """
    if sites := _values(scope, b"sec-fetch-site"):
        return sites in ([b"same-origin"], [b"none"])
    # Either scheme: behind a proxy, the server doesn't know whether it was HTTPS.
    own = [scheme + host.lower() for host in _values(scope, b"host") for scheme in (b"http://", b"https://")]
    return [origin.lower() in own for origin in _values(scope, b"origin")] == [True]


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for header, value in scope["headers"] if header == name]


def _passwords(scope: Scope) -> list[bytes]:
    """The passwords of HTTP Basic (RFC 7617), without malformed ones."""
    found = []
    for value in _values(scope, b"authorization"):
        scheme, _, credentials = value.partition(b" ")
        if scheme.lower() == b"basic":
            try:
                found.append(base64.b64decode(credentials.strip(), validate=True).partition(b":")[2])
            except binascii.Error:
                continue
    return found


def _find(given: Iterable[bytes], keys: Iterable[ApiKey]) -> ApiKey | None:
    """The valid key that was given; the time that it takes reveals nothing about the keys."""
    pairs = [(each, key) for each in given for key in keys]
    found = [key for each, key in pairs if compare_digest(each, key.secret.get_secret_value().encode())]
    return found[0] if found else None


async def _refuse(
    status: int,
    detail: str,
    scope: Scope,
    receive: Receive,
    send: Send,
    headers: dict[str, str] | None = None,
) -> None:
    if scope["type"] == "websocket":  # before it is accepted, so the client gets a 403
        await send({"type": "websocket.close", "code": 1008})
        return
    await problems.response(status, detail, headers=headers)(scope, receive, send)
