"""The API: routers, error format, and what happens at start."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from src import health, metrics, problems, production, security
from src.body_limit import BodyLimit
from src.log import configure_logging
from src.observer import ObservedApi
from src.response_headers import ResponseHeaders
from src.sales import page as sales_page
from src.sales import routes as sales_routes

logger = logging.getLogger(__name__)

MULTIPART_BYTES = 64 * 1024
"""What the multipart wrapping of one file may add to its size."""

settings = production.check()


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    configure_logging(settings, role="fastapi")
    logger.info("Starting Sales Dashboard API...")
    yield


app = ObservedApi(
    debug=settings.debug,
    title="Sales Dashboard",
    version="0.1.0",
    description="Upload what was sold, see what it adds up to.",
    lifespan=_lifespan,
    responses=problems.RESPONSES,
)
problems.install(app)
app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes + MULTIPART_BYTES)
security.install(app)
app.add_middleware(ResponseHeaders)
app.include_router(health.router)
app.include_router(metrics.router)
app.include_router(sales_routes.router)
app.include_router(sales_page.router)

health.running()  # the code is loaded: this is it
