"""The smallest application, to see what the watching parent of a server costs."""

from typing import Any


async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Answer everything with nothing."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
