"""The page: upload a file, watch its progress, see what it adds up to, and which code runs where."""

import secrets
from pathlib import Path
from zlib import crc32

from fastapi import APIRouter, Request, Response
from fastapi.templating import Jinja2Templates

from src.kit.queue.workers import newer_code, workers
from src.kit.running import running_code
from src.kit.web.event_stream import stream_changes
from src.kit.web.queue_page import TEMPLATES
from src.kit.web.security import PAGE_POLICY
from src.sales import charts, imports
from src.sales.models import GroupBy
from src.sales.summary import summarize
from src.settings import get_settings

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates([Path(__file__).parent / "templates", TEMPLATES])
IMPORTS, MAX_COUNTRIES = 8, 1000


@router.get("/")
def index(request: Request) -> Response:
    """Render the page."""
    by_day = summarize(GroupBy.DAY, None, None)
    nonce = secrets.token_urlsafe(16)
    context = _shown() | {
        "nonce": nonce,
        "settings": get_settings(),
        "imports": imports.newest(IMPORTS),
        "total": by_day.total,
        "chart": charts.over_time(by_day.groups) if by_day.groups else None,
        "countries": summarize(GroupBy.COUNTRY, None, None, MAX_COUNTRIES).groups,
    }
    headers = {"Content-Security-Policy": PAGE_POLICY.format(nonce=nonce)}
    return templates.TemplateResponse(request, "index.html", context, headers=headers)


@router.get("/page/events")
async def page_events() -> Response:
    """Tell an open page what changes: its table of code, and the version of the rest, which it fetches."""
    return stream_changes(_shown, topic="page")


def _shown() -> dict[str, str]:
    """The table of code, and a version that changes with the code and when an import comes or ends."""
    state = [running_code().code, *((row.id, row.finished_at) for row in imports.newest(IMPORTS))]
    table = templates.get_template("running.html")
    registered = workers()
    running = table.render(code=running_code().code, on_disk=newer_code(registered), workers=registered)
    return {"running": running, "version": f"{crc32(repr(state).encode()):08x}"}
