"""In development, pages follow the code: `follow.js`, which each of them gets, says how."""

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from src.kit.running import running_code
from src.kit.web.event_stream import stream_state
from src.kit.web.queue_page import TEMPLATES
from src.reload.report import current_problem


def install(app: FastAPI) -> None:
    """Add the script to every page, and serve it and what it follows."""
    app.get("/_follow.js", include_in_schema=False)(lambda: FileResponse(TEMPLATES / "follow.js"))
    app.get("/_follow", include_in_schema=False)(lambda: stream_state(lambda: [_live(), current_problem()]))
    app.add_middleware(_with_script)


def _live() -> str:
    return str(running_code().loaded_at.timestamp())


def _with_script(app: ASGIApp) -> ASGIApp:
    """Middleware: appends the script to pages, unless they are compressed or fetched by a script."""

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        src, tag = f"{scope.get('root_path', '')}/_follow.js?{_live()}", b""

        async def append(message: Message) -> None:
            nonlocal tag
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-cache")  # else a browser keeps an old style
                is_whole = message["status"] not in (204, 206, 304) and "Content-Encoding" not in headers
                is_page = headers.get("Content-Type", "").startswith("text/html")
                if is_whole and is_page and Headers(scope=scope).get("Sec-Fetch-Dest") != "empty":
                    policy = headers.get("Content-Security-Policy", "")
                    nonce = policy.partition("'nonce-")[2].partition("'")[0]
                    tag = f'<script type="module" src="{src}" nonce="{nonce}"></script>'.encode()
                    del headers["ETag"], headers["Last-Modified"]  # those of the page without the script
                    if "Content-Length" in headers:
                        headers["Content-Length"] = str(int(headers["Content-Length"]) + len(tag))
            elif tag and not message.get("more_body") and scope["method"] != "HEAD":
                message = {**message, "body": message.get("body", b"") + tag}
            await send(message)

        await app(scope, receive, append if scope["type"] == "http" else send)

    return respond
