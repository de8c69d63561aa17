"""An application that reads bodies, behind our limits, made small: what takes 20 s takes one here."""

import os

from fastapi import FastAPI, Request

from src.kit.web import body_limit, connection_limits, health, problems

body_limit.PATIENCE = float(os.environ.get("PATIENCE", "1"))
body_limit.QUICK = 0.2
body_limit.LARGE = 256 * 1024
connection_limits.HEAD_SECONDS = 1
connection_limits.MAX_IDLE = 50

MAX_BYTES = 1 << 20

app = FastAPI()
problems.install(app)
app.add_middleware(body_limit.BodyLimit, max_bytes=MAX_BYTES)
app.include_router(health.router)


@app.post("/length")
async def length(request: Request) -> int:
    """Read a body, and tell how long it was."""
    return len(await request.body())
