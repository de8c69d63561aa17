"""The API: routers, error format, and what happens at start."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from src import health, problems
from src.log import configure_logging
from src.sales import page as sales_page
from src.sales import routes as sales_routes
from src.settings import get_settings

logger = logging.getLogger(__name__)


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    configure_logging(get_settings(), role="fastapi")
    logger.info("Starting Sales Dashboard API...")
    yield


app = FastAPI(
    title="Sales Dashboard",
    version="0.1.0",
    description="Import files of sales and see what they add up to.",
    lifespan=_lifespan,
    responses=problems.RESPONSES,
)
problems.install(app)
app.include_router(health.router)
app.include_router(sales_routes.router)
app.include_router(sales_page.router)
