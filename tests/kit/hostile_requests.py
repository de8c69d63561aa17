"""Hostile requests to routes that every application of this template has: bytes, and what may be answered."""

from typing import NamedTuple

from tests.kit.hostile_server import get

OK, REFUSED = frozenset({200}), frozenset({400})
UNKNOWN, NOT_ALLOWED = frozenset({400, 404}), frozenset({400, 405})
TOO_LONG = frozenset({400, 414, 431})


class Hostile(NamedTuple):
    """One request, or bytes that pretend to be one."""

    name: str
    request: bytes
    statuses: frozenset[int]
    """Any of them is fine: Uvicorn's parser answers 400, the application a problem."""


def request(line: str, *headers: str, body: bytes = b"", host: str | None = "localhost") -> bytes:
    """A request with these header lines, as they are."""
    lines = [line, *([f"Host: {host}"] if host is not None else []), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def post(*headers: str, body: bytes = b"") -> bytes:
    """A POST to a route that allows none."""
    return request("POST /version HTTP/1.1", *headers, body=body)


def _chunked(body: bytes, *headers: str) -> bytes:
    return post("Transfer-Encoding: chunked", *headers, body=body)


_SMUGGLED = get("/health/ready")
_WEBSOCKET = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
_KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def _version(*headers: str) -> bytes:
    return request("GET /version HTTP/1.1", *headers)


def _path(path: str) -> bytes:
    return request(f"GET {path} HTTP/1.1")


LENGTHS = [
    Hostile("negative", post("Content-Length: -1", body=b"abc"), REFUSED),
    Hostile("with-a-sign", post("Content-Length: +3", body=b"abc"), REFUSED),
    Hostile("hexadecimal", post("Content-Length: 0x3", body=b"abc"), REFUSED),
    Hostile("with-underscore", post("Content-Length: 1_0", body=b"abc"), REFUSED),
    Hostile("fraction", post("Content-Length: 3.0", body=b"abc"), REFUSED),
    Hostile("empty", post("Content-Length: "), REFUSED),
    Hostile("list", post("Content-Length: 3, 3", body=b"abc"), REFUSED),
    Hostile("twice-different", post("Content-Length: 3", "Content-Length: 4", body=b"abc"), REFUSED),
    Hostile("twice-the-same", post("Content-Length: 3", "Content-Length: 3", body=b"abc"), REFUSED),
    Hostile("beyond-64-bits", post("Content-Length: 99999999999999999999"), REFUSED),
    Hostile("5000-digits", post("Content-Length: " + "0" * 5000 + "3", body=b"abc"), NOT_ALLOWED),
    Hostile("too-small", post("Content-Length: 3", body=b"abcdef"), NOT_ALLOWED),
    Hostile("on-a-get", _version("Content-Length: 5") + b"abcde", OK),
]

SMUGGLING = [
    Hostile(
        "cl-te",
        post("Content-Length: 6", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + _SMUGGLED),
        REFUSED,
    ),
    Hostile("te-cl", _chunked(b"5c\r\n" + _SMUGGLED + b"\r\n0\r\n\r\n", "Content-Length: 4"), REFUSED),
    Hostile("te-te", _chunked(b"0\r\n\r\n" + _SMUGGLED, "Transfer-Encoding: x"), REFUSED),
    Hostile("te-xchunked", post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), REFUSED),
    Hostile("te-identity", post("Transfer-Encoding: identity", "Content-Length: 3", body=b"abc"), REFUSED),
    Hostile("te-before-gzip", post("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), REFUSED),
    Hostile("te-space-before-colon", post("Transfer-Encoding : chunked", body=b"0\r\n\r\n"), REFUSED),
    Hostile("te-tab-in-value", post("Transfer-Encoding: \tchunked\x0b", body=b"0\r\n\r\n"), REFUSED),
    Hostile("te-folded", post("Transfer-Encoding:\r\n chunked", body=b"0\r\n\r\n"), REFUSED),
    Hostile("cl-folded", post("Content-Length:\r\n 3", body=b"abc"), REFUSED),
    Hostile("chunk-size-overflow", _chunked(b"fffffffffffffffff\r\nabc"), REFUSED),
    Hostile("chunk-size-negative", _chunked(b"-1\r\nabc"), REFUSED),
    Hostile("chunk-size-hex-prefix", _chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), REFUSED),
    Hostile("chunk-size-garbage", _chunked(b"zz\r\nabc\r\n0\r\n\r\n"), REFUSED),
    Hostile("chunk-longer-than-told", _chunked(b"3\r\nabcdef\r\n0\r\n\r\n"), REFUSED),
    Hostile("chunk-with-bare-lf", _chunked(b"1\na\n0\n\n"), REFUSED),
    Hostile("chunk-extension-of-16k", _chunked(b"1;" + b"x" * 16_000 + b"\r\na\r\n0\r\n\r\n"), NOT_ALLOWED),
    Hostile("trailer-content-length", _chunked(b"0\r\nContent-Length: 5\r\n\r\n"), REFUSED),
    Hostile("trailer-host", _chunked(b"0\r\nHost: evil.example\r\n\r\n"), NOT_ALLOWED),
    Hostile("trailers-20000", _chunked(b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n"), NOT_ALLOWED),
    Hostile("after-connection-close", _version("Connection: close") + _SMUGGLED, OK),
]

HEADS = [
    Hostile("no-host", request("GET /version HTTP/1.1", host=None), REFUSED),
    Hostile("two-hosts", _version("Host: evil.example"), REFUSED),
    Hostile("host-empty", request("GET /version HTTP/1.1", host=""), OK | REFUSED),
    Hostile("host-nonsense", request("GET /version HTTP/1.1", host="a b/@\\"), OK | REFUSED),
    Hostile("host-open-bracket", request("GET /version HTTP/1.1", host="[::1"), OK | REFUSED),
    Hostile("host-port-beyond", request("GET /version HTTP/1.1", host="a:99999999"), OK | REFUSED),
    Hostile("obs-fold", _version("X-A: b\r\n c"), REFUSED),
    Hostile("folded-first-line", b"GET /version HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", REFUSED),
    Hostile("bare-lf", b"GET /version HTTP/1.1\nHost: a\n\n", REFUSED),
    Hostile("bare-cr", b"GET /version HTTP/1.1\rHost: a\r\r", REFUSED),
    Hostile("nul-in-value", _version("X: a\0b"), REFUSED),
    Hostile("cr-in-value", _version("X: a\rb"), REFUSED),
    Hostile("no-colon", _version("nonsense"), REFUSED),
    Hostile("no-name", _version(": x"), REFUSED),
    Hostile("brackets-in-name", _version("X(y): x"), REFUSED),
    Hostile("latin-1-value", _version("X: \xff\xfe"), OK),
    Hostile("header-of-1-mib", _version("X: " + "a" * (1 << 20)), TOO_LONG),
    Hostile("100000-headers", _version(*["X: y"] * 100_000), TOO_LONG),
    Hostile("cookie-of-1-mib", _version("Cookie: " + "a=b; " * 200_000), TOO_LONG),
    Hostile("forwarded-for-nonsense", _version("X-Forwarded-For: " + "1.1.1.1," * 500 + "\xff"), OK),
    Hostile("forwarded-proto-javascript", _version("X-Forwarded-Proto: javascript"), OK),
    Hostile("expect-nonsense", _version("Expect: nonsense"), OK),
    Hostile("many-ranges", _version("Range: bytes=" + "0-," * 5000), OK),
    Hostile("range-overlapping", _version("Range: bytes=-1,0-99999999999999999999"), OK),
    Hostile("accept-nonsense", _version("Accept: " + "*/*;q=nan," * 500, "Accept-Encoding: gzip;q=x"), OK),
    Hostile("basic-without-colon", _version("Authorization: Basic bm9jb2xvbg=="), OK),
    Hostile("basic-not-base64", _version("Authorization: Basic \xff%%%"), OK),
    Hostile("etag-nonsense", _version('If-None-Match: "' + "a" * 8000, "If-Modified-Since: 31 Feb 0000"), OK),
]

LINES = [
    Hostile("url-of-100k", _path("/" + "a" * 100_000), TOO_LONG),
    Hostile("url-of-2m", _path("/" + "a" * 2_000_000), TOO_LONG),
    Hostile("url-of-30k", _path("/" + "a" * 30_000), UNKNOWN),
    Hostile("query-of-30k", _path("/version?" + "a=b&" * 7_500), OK),
    Hostile("nul-in-path", _path("/ver\0sion"), REFUSED),
    Hostile("encoded-nul", _path("/version%00"), UNKNOWN),
    Hostile("encoded-line-break", _path("/version%0d%0aSet-Cookie:a=b"), UNKNOWN),
    Hostile("encoded-line-break-redirect", _path("/version%0d%0aSet-Cookie:a=b/"), UNKNOWN),
    Hostile("not-ascii", _path("/\xff"), REFUSED),
    Hostile("not-ascii-query", _path("/version/?\xff"), REFUSED),
    Hostile("bad-percent", _path("/version%zz"), UNKNOWN),
    Hostile("double-encoding", _path("/%252e%252e/%255c"), UNKNOWN),
    Hostile("dot-dot", _path("/../../etc/passwd"), UNKNOWN),
    Hostile("encoded-dot-dot", _path("/%2e%2e/%2e%2e/etc/passwd"), UNKNOWN),
    Hostile("backslashes", _path("/..\\..\\windows\\win.ini"), UNKNOWN),
    Hostile("overlong-utf-8", _path("/%c0%ae%c0%ae/"), UNKNOWN),
    Hostile("lone-surrogate", _path("/%ed%a0%80"), UNKNOWN),
    Hostile("two-slashes", _path("//evil.example/%2e%2e"), UNKNOWN),
    Hostile("no-slash", _path("version"), REFUSED),
    Hostile("star", _path("*"), UNKNOWN),
    Hostile("absolute-form", _path("http://evil.example/version"), OK | UNKNOWN),
    Hostile("absolute-form-without-path", _path("http://evil.example"), UNKNOWN),
    Hostile("fragment", _path("/version#x"), OK | UNKNOWN),
    Hostile("options-star", request("OPTIONS * HTTP/1.1"), UNKNOWN),
    Hostile("trace", request("TRACE /version HTTP/1.1"), NOT_ALLOWED),
    Hostile("connect", request("CONNECT evil.example:443 HTTP/1.1"), UNKNOWN),
    Hostile("connect-to-a-path", request("CONNECT /version HTTP/1.1"), NOT_ALLOWED),
    Hostile("delete", request("DELETE /version HTTP/1.1"), NOT_ALLOWED),
    Hostile("method-override", post("X-HTTP-Method-Override: GET", "Content-Length: 0"), NOT_ALLOWED),
    Hostile("unknown-method", request("FOO /version HTTP/1.1"), NOT_ALLOWED),
    Hostile("method-in-small-letters", request("get /version HTTP/1.1"), REFUSED),
    Hostile("method-of-5000", request("A" * 5000 + " /version HTTP/1.1"), TOO_LONG),
    Hostile("leading-space", b" " + _version(), REFUSED),
    Hostile("leading-blank-lines", b"\r\n" * 1000 + _version(), OK | REFUSED),
    Hostile("http-0.9", b"GET /version\r\n\r\n", OK | REFUSED),
    Hostile("http-1.9", request("GET /version HTTP/1.9"), REFUSED),
    Hostile("http-2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", REFUSED),
    Hostile("http-3", request("GET /version HTTP/3.0"), REFUSED),
    Hostile("tls-hello", bytes.fromhex("16030100a5010000a10303") + b"\0" * 100, REFUSED),
    Hostile("every-byte", bytes(range(256)), REFUSED),
    Hostile("upgrade-to-h2c", _version("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"), OK),
    Hostile("websocket", _version(*_WEBSOCKET, _KEY), frozenset({403})),
    Hostile("websocket-bad-key", _version(*_WEBSOCKET, "Sec-WebSocket-Key: x"), REFUSED),
    Hostile("websocket-no-key", _version(*_WEBSOCKET), frozenset({400, 426})),
    Hostile("websocket-by-post", post(*_WEBSOCKET, _KEY, "Content-Length: 3", body=b"abc"), NOT_ALLOWED),
]

CASES = {
    f"{group}-{case.name}": case
    for group, cases in {"length": LENGTHS, "smuggling": SMUGGLING, "head": HEADS, "line": LINES}.items()
    for case in cases
}
