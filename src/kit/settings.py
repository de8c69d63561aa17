"""The settings that every service has: typed, read from the environment, explained in `.env.example`."""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict


class FilesSource(PydanticBaseSettingsSource):
    """Takes a setting's value from the file that `<SETTING>_FILE` names, as official images do it.

    Not pydantic's own `secrets_dir`, which wants one folder, and files named after the settings. What is
    wrong with a file stands in the place of the value as a ValueError, so that all mistakes are told at once.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        """The content of the setting's file, None where no file is named."""
        name = field_name.upper()
        path = os.environ.get(f"{name}_FILE")
        value: str | ValueError | None = None
        if path and os.environ.get(name):
            value = ValueError(f"both {name} and {name}_FILE are set: keep one of them")
        elif path:
            try:
                # Without its last line breaks, as a shell's $(cat FILE) gives it to Redis and Postgres.
                value = Path(path).read_bytes().decode().rstrip("\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
                value = ValueError(f"{name}_FILE names {path}, which can't be read: {reason}")
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        """The values of all settings that have a file."""
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in values.items() if value is not None and value != ""}


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


class KitSettings(BaseSettings):
    """The settings that `kit` reads, with defaults for development on one machine.

    Each field is the environment variable of the same name in capitals, or the content of the file that the
    variable with `_FILE` behind it names: for secrets, which others could read in the environment. `.env` is
    not read here: Compose and the Makefile hand it to the processes, so that a process sees one environment
    and no file by surprise.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    debug: bool = Field(default=False, description="Show tracebacks in answers.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_dir: Path | None = Field(
        default=None, description="Folder for a log file per process, beside standard output."
    )

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(), description="Any of them opens the API; without one it is open to everybody."
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("localhost", "127.0.0.1", "[::1]", "fastapi"),
        description="Names under which the API is reached; *.example.com stands for all names below.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Origins such as https://example.com whose pages may use the API."
    )

    database_url: str = Field(default="sqlite:///data/app.db", repr=False)
    database_password: SecretStr | None = Field(
        default=None, description="Put into DATABASE_URL, which then needs none."
    )
    allow_sqlite: bool = Field(default=False, description="Accept SQLite in production.")
    redis_url: str = Field(default="redis://localhost:6379/0", repr=False)
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where the values come from; the first that has one wins."""
        return init_settings, FilesSource(settings_cls), env_settings

    @field_validator("*", mode="before")
    @classmethod
    def _tell_what_is_wrong_with_its_file(cls, value: Any) -> Any:
        if isinstance(value, ValueError):
            raise value
        return value

    @field_validator("api_keys", "allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """A list may stand on one line, with commas, or on several."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("database_url", "redis_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        if not urlsplit(value).scheme:
            raise ValueError("it is no URL")
        return value

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
def get_settings() -> KitSettings:
    """The settings of this process, read once.

    Raises:
        pydantic.ValidationError: a value is not of its type; the message names the variable.
    """
    return KitSettings()
