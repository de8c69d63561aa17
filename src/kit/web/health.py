"""Health checks, and the version of the code that each process runs."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from src.kit.queue.workers import CodeOnDisk, Worker, newer_code, workers
from src.kit.readiness import readiness_problems
from src.kit.running import running_code
from src.kit.settings import get_settings
from src.kit.web.problems import Problem

router = APIRouter(tags=["health"])


class Version(BaseModel):
    """The code that each process runs."""

    environment: Literal["development", "production"]
    code: str = Field(description="Fingerprint of the API's code.", examples=["c0ffee123456"])
    loaded_at: datetime
    workers: list[Worker]
    on_disk: CodeOnDisk | None = Field(
        default=None, description="In development, if the API or a worker does not run the code on disk."
    )


class Status(BaseModel):
    """The answer of a health check that passed."""

    status: Annotated[str, Field(examples=["ok"])] = "ok"


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> Status:  # async, because in an outage all threads may wait
    """Whether the process answers; an orchestrator restarts it if this fails."""
    return Status()


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", responses={503: {"description": "What it waits for.", "model": Problem}})
def ready() -> Status:
    """Whether the process can work; a load balancer sends requests only while this answers 200."""
    if problems := readiness_problems():
        raise HTTPException(503, detail=" ".join(problems))
    return Status()


@router.get("/version", response_model_exclude_none=True)
def version() -> Version:
    """The code that the API and each worker run; the same source files give the same `code`."""
    registered = workers()
    return Version(
        environment=get_settings().environment,
        code=running_code().code,
        loaded_at=running_code().loaded_at,
        workers=registered,
        on_disk=newer_code(registered),
    )
