"""Live, ready and version: who runs, whether it can work, and on which code."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from src.kit.queue.workers import Worker, workers
from src.kit.readiness import readiness_problems
from src.kit.running import newer_code, running_code
from src.kit.settings import get_settings

router = APIRouter(tags=["health"])


class OnDisk(BaseModel):
    """Code that the API does not run, though it is there."""

    model_config = ConfigDict(from_attributes=True)

    code: str = Field(description="Fingerprint of the code on disk.", examples=["c0ffee123456"])
    problem: str | None = Field(
        description="Why it does not run, with file and line.",
        examples=["src/main.py:12: SyntaxError: invalid syntax"],
    )


class Version(BaseModel):
    """Which code runs where."""

    environment: Literal["development", "production"]
    code: str = Field(description="Fingerprint of the API's code.", examples=["c0ffee123456"])
    loaded_at: datetime
    workers: list[Worker]
    on_disk: OnDisk | None = Field(default=None, description="In development, where it is not what runs.")


class Status(BaseModel):
    """The answer of a health check that found nothing wrong."""

    status: Annotated[str, Field(examples=["ok"])] = "ok"


@router.get("/health/live")
def live() -> Status:
    """The process answers: an orchestrator restarts it when this fails."""
    return Status()


@router.get("/health/ready", responses={503: {"description": "What it waits for."}})
def ready() -> Status:
    """The process can work: a load balancer sends requests only while this answers 200."""
    if problems := readiness_problems():
        raise HTTPException(503, detail=" ".join(problems))
    return Status()


@router.get("/version", response_model_exclude_none=True)
def version() -> Version:
    """Which code the API and every worker run: the same tree gives the same `code` in every process."""
    newer = newer_code()
    return Version(
        environment=get_settings().environment,
        code=running_code().code,
        loaded_at=running_code().loaded_at,
        workers=workers(),
        on_disk=newer and OnDisk.model_validate(newer),
    )
