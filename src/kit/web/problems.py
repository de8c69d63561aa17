"""Errors of the API as RFC 9457 problem details (`application/problem+json`)."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from src.kit import request_id
from src.kit.database.engine import is_full
from src.kit.redis import REDIS_AWAY, away_reason
from src.kit.running import where_and_why
from src.kit.settings import get_settings
from src.kit.web.metrics import METHODS

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
PROBLEM_SCHEMA = "#/components/schemas/Problem"

UNDEFINED_TABLE = "42P01"
"""Postgres' code if the migrations have not run yet."""


class Problem(BaseModel):
    """An error as defined by RFC 9457."""

    type: str = "about:blank"
    title: str = Field(description="The status in words.", examples=["Not Found"])
    status: int = Field(description="The HTTP status code.", examples=[404])
    detail: str = Field(description="What happened and what to do.", examples=["Order 7 does not exist."])
    request_id: str | None = Field(description="The request's id in the log.", examples=["c0ffee"])


RESPONSES: dict[int | str, Any] = {
    "4XX": {"description": "The request can't be served.", "model": Problem},
    "5XX": {"description": "The server can't serve it now.", "model": Problem},
}
"""For `FastAPI(responses=…)`: documents errors in the schema."""


def install(app: FastAPI) -> None:
    """Answer every error of this application as a problem; in production, unexpected ones say no details."""

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> JSONResponse:
        headers = error.headers
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (allowed := _methods(app, request.scope)):
            headers = {"Allow": ", ".join(allowed)}
        return response(error.status_code, error.detail, headers=headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"where": ".".join(str(part) for part in item["loc"]), "reason": item["msg"]}
            for item in error.errors()
        ]
        detail = "; ".join(f"{item['where']}: {item['reason']}" for item in errors)
        return response(HTTPStatus.UNPROCESSABLE_ENTITY, detail, errors=errors)

    @app.exception_handler(ClientDisconnect)
    def _client_left(_request: Request, _error: ClientDisconnect) -> JSONResponse:
        return response(HTTPStatus.BAD_REQUEST, "The client left before its request was complete.")

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeoutError)
    def _database_away(_request: Request, error: Exception) -> JSONResponse:
        reason = "The disk of the database is full" if is_full(error) else "The database does not answer"
        logger.error("%s: %s", reason, str(error).splitlines()[0])
        detail = f"{reason}." if is_full(error) else f"{reason}, or has no tables yet; see /health/ready."
        return response(503, detail, headers={"Retry-After": "5"})

    @app.exception_handler(ProgrammingError)
    def _no_tables(request: Request, error: ProgrammingError) -> JSONResponse:
        if getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE:  # SQLite's is an OperationalError
            return _database_away(request, error)
        return _unexpected(request, error)

    def _redis_away(_request: Request, error: RedisError) -> JSONResponse:
        logger.error("%s %s", away_reason(error), error)
        return response(503, f"{away_reason(error)} Try again soon.", headers={"Retry-After": "5"})

    for away in REDIS_AWAY:
        app.exception_handler(away)(_redis_away)

    @app.exception_handler(Exception)
    def _unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        is_development = get_settings().environment == "development"
        detail = where_and_why(error) if is_development else "The server failed; its log says why."
        return response(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def _methods(app: FastAPI, scope: Scope) -> list[str]:
    """All methods of a path; Starlette names those of its first route. None in a mounted application."""
    # Without what the routing has left in it.
    asked = {name: scope[name] for name in ("type", "path", "root_path", "headers") if name in scope}
    return [
        method
        for method in sorted(METHODS)
        if any(route.matches(asked | {"method": method})[0] is Match.FULL for route in app.routes)
    ]


def name_media_type(schema: dict[str, Any]) -> None:
    """Say `application/problem+json` in an OpenAPI schema wherever `Problem` is the model of a response."""
    for operation in (each for path in schema["paths"].values() for each in path.values()):
        for answer in operation["responses"].values():
            content = answer.get("content", {})
            if content.get("application/json", {}).get("schema", {}).get("$ref") == PROBLEM_SCHEMA:
                content[MEDIA_TYPE] = content.pop("application/json")


def response(
    status: int, detail: str, *, headers: Any = None, errors: list[dict[str, str]] | None = None
) -> JSONResponse:
    """Build the response for a problem; middleware uses it directly, since no handler sees its errors.

    Args:
        status: the HTTP status code.
        detail: what happened and what to do.
        headers: headers of the answer.
        errors: what is wrong, each with `where` and `reason`.
    """
    body = Problem(
        title=HTTPStatus(status).phrase, status=status, detail=detail, request_id=request_id.current()
    ).model_dump()
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)
