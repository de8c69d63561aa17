"""The page: upload a file, watch its progress, see what it adds up to, and which code runs where."""

import secrets
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates

from src.kit.queue.workers import workers
from src.kit.running import newer_code, running_code
from src.sales import charts, imports
from src.sales.models import GroupBy
from src.sales.schemas import ImportView
from src.sales.summary import summarize
from src.settings import get_settings

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the page may do: nothing that a file of sales could have brought in runs."""

COUNTRIES = 12
IMPORTS = 8


@router.get("/")
def index(request: Request) -> HTMLResponse:
    """Render the dashboard."""
    by_day = summarize(GroupBy.DAY, None, None, None)
    by_country = summarize(GroupBy.COUNTRY, None, None, COUNTRIES)
    nonce = secrets.token_urlsafe(16)
    return templates.TemplateResponse(
        request,
        "index.html",
        {
            "nonce": nonce,
            "environment": get_settings().environment,
            "code": running_code().code,
            "workers": workers(),
            "on_disk": newer_code(),
            "max_upload_mb": get_settings().max_upload_mb,
            "imports": [ImportView.model_validate(row) for row in imports.newest(IMPORTS)],
            "total": by_day.model_dump()["total"],
            "days": len(by_day.groups),
            "day_chart": charts.revenue_by_day(by_day.groups) if by_day.groups else None,
            "country_chart": charts.revenue_by_country(by_country.groups) if by_country.groups else None,
        },
        headers={"Content-Security-Policy": POLICY.format(nonce=nonce)},
    )
