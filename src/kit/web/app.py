"""The application, with what every service's API needs."""

import logging
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from src.kit import production, tracing
from src.kit.database.revisions import apply_new_migrations
from src.kit.log import configure_logging
from src.kit.readiness import readiness_problems
from src.kit.running import running_code
from src.kit.web import docs_page, health, metrics, problems, queue_page, security
from src.kit.web.body_limit import BodyLimit
from src.kit.web.observer import ObservedApi

logger = logging.getLogger(__name__)

MULTIPART_BYTES = 64 * 1024
"""Allowance for the multipart encoding of one file."""


def create_app(title: str, routers: Iterable[APIRouter], **options: Any) -> FastAPI:
    """Create the application: your routers, problem details, limits, API keys, health, metrics, `/queue`.

    Call it last in `main.py`: `/version` reports the code that is loaded by then.

    Args:
        title: name of the service.
        routers: the routes of the features.
        options: further arguments of `FastAPI`, such as `version` and `description`.

    Raises:
        SystemExit: the settings are wrong, or not fit for production.
    """
    settings = production.checked_settings(serves=True)
    tracing.load()

    def before_serving() -> None:
        configure_logging(settings, role="fastapi")
        apply_new_migrations()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        configure_logging(settings, role="fastapi")
        tracing.start()
        logger.info("Starting %s API...", title)
        if settings.environment == "production":
            threading.Thread(target=_warm_up, daemon=True).start()
        yield
        tracing.flush()

    # Health checks ask all the time.
    options = {"telemetry": {"exclude": lambda scope: scope["path"] in security.OPEN_PATHS}} | options
    docs_url = options.pop("docs_url", "/docs")
    options |= {"docs_url": None, "redoc_url": None}  # these pages load their scripts from a CDN
    app = ObservedApi(
        title=title, debug=settings.debug, lifespan=lifespan, responses=problems.RESPONSES, **options
    )
    app.before_serving = before_serving
    problems.install(app)
    if settings.environment == "development":
        from src.kit.web import follow

        follow.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes + MULTIPART_BYTES)
    security.install(app)
    for router in (health.router, metrics.router, *routers, queue_page.router):  # your own /queue wins
        app.include_router(router)
    if docs_url and app.openapi_url:
        docs_page.install(app, docs_url)
    if settings.environment == "production":
        for route in app.routes:  # FastAPI prepares those of a router when a request first meets it
            route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})
    running_code()
    return app


def _warm_up() -> None:
    """Connect, and prepare the pages of `kit`: the first requests would wait for that."""
    readiness_problems()
    queue_page.warm_up()
