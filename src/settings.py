"""Every setting of the application: typed, read from the environment, taught in `.env.example`."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def seconds(duration: str) -> int:
    """A duration as Compose writes it, such as `330s` or `1h5m`, in seconds.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", duration)
    if not duration or not match:
        raise ValueError(f"{duration!r} is no duration such as 330s or 5m30s")
    hours, minutes, rest = (int(number or 0) for number in match.groups())
    return hours * 3600 + minutes * 60 + rest


class Settings(BaseSettings):
    """The settings, with the defaults of development on one machine.

    Each field is the environment variable of the same name in capitals. `.env` is not read here: Compose and
    the Makefile hand it to the processes, so that a process sees one environment and no file by surprise.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_dir: Path | None = Field(
        default=None, description="Folder for a log file per process, beside standard output."
    )

    database_url: str = "sqlite:///data/app.db"
    database_password: SecretStr | None = Field(
        default=None, description="Put into DATABASE_URL, which then needs none."
    )
    redis_url: str = "redis://localhost:6379/0"
    redis_password: SecretStr | None = Field(
        default=None, description="Put into REDIS_URL, which then needs none."
    )

    max_upload_mb: int = Field(default=50, ge=1, description="Largest file that an upload may have, in MiB.")

    rq_queue: str = "default"
    rq_worker_autoreload: bool = False
    rq_worker_check_interval: float = Field(
        default=2.0, gt=0, description="Seconds between two looks at the files."
    )
    rq_worker_heartbeat_file: Path | None = Field(
        default=None, description="Touched at each heartbeat of the worker."
    )
    rq_worker_max_restarts: int = Field(
        default=10, ge=1, description="Crashes in a row before the worker gives up."
    )
    job_timeout: int = Field(default=300, ge=1, description="Seconds that a job may run.")
    job_retries: int = Field(default=3, ge=0, description="How often a job that crashed is tried again.")
    worker_stop_grace_period: Annotated[int, BeforeValidator(seconds)] | None = Field(
        default=None, description="When its container kills a worker that is to stop, such as 330s."
    )

    @model_validator(mode="after")
    def _insert_passwords(self) -> Self:
        """Put each password into its URL, so that the rest of the code knows URLs only."""
        if self.database_password:
            self.database_url = _with_password(self.database_url, self.database_password.get_secret_value())
        if self.redis_password:
            self.redis_url = _with_password(self.redis_url, self.redis_password.get_secret_value())
        return self

    @property
    def max_upload_bytes(self) -> int:
        """Largest file that an upload may have, in bytes."""
        return self.max_upload_mb * 1024 * 1024


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    if parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or ''}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        pydantic.ValidationError: a value is not of its type; the message names the variable.
    """
    return Settings()
