"""The settings that every service has: typed, read from the environment, explained in `.env.example`."""

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_HOST = r"(?:[\w.-]+|\[[\da-fA-F:.]+\])(?::\d+)?"
SENTINEL_URL = re.compile(
    rf"(rediss?)\+sentinel://([^/@]*@)?({_HOST}(?:,{_HOST})*)/([^/?#]+)((?:/\d+)?(?:\?.*)?)"
)
"""redis or rediss; a user with `@`; the Sentinels; the name of the master; the database and options."""


def seconds(duration: str) -> int:
    """Convert a duration as Compose writes it, such as `330s` or `1h5m`, to seconds.

    Raises:
        ValueError: the text is not such a duration.
    """
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", duration)
    if not duration or not match:
        raise ValueError(f"{duration!r} is not a duration such as 330s or 5m30s")
    hours, minutes, rest = (int(number or 0) for number in match.groups())
    return hours * 3600 + minutes * 60 + rest


Duration = Annotated[int, BeforeValidator(seconds)]
"""A setting in seconds, written as Compose writes durations."""


class ApiKey(NamedTuple):
    """A key of the API, written `name:scope:key`, or only `key`."""

    secret: SecretStr
    name: str | None = None
    """For the access log."""
    scope: Literal["read", "write"] = "write"
    """What it may do; who may write may read, too."""


def _api_key(number: int, entry: str) -> ApiKey:
    match = re.fullmatch(r"(?:([A-Za-z0-9_.-]{1,64}):(read|write):)?([^:]+)", entry)
    if not match:
        raise ValueError(
            f"entry {number} is neither a key without colons nor name:scope:key, where the scope is read or "
            "write, and the name consists of letters, digits, dots, - and _"
        )
    name, scope, secret = match.groups()
    return ApiKey(SecretStr(secret), name, "read" if scope == "read" else "write")


class KitSettings(BaseSettings):
    """The settings that `kit` reads, with defaults for development; `.env.example` explains each one.

    Each field is the environment variable of the same name in capitals, or the content of the file that the
    variable with the suffix `_FILE` names: for secrets, which others could read in the environment. `.env` is
    not read here: Compose and the Makefile pass its variables to the processes.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", hide_input_in_errors=True)

    environment: Literal["development", "production"] = "development"
    debug: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["plain", "color"] | None = None  # of development
    log_dir: Path | None = None

    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = ()
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ("localhost", "127.0.0.1", "[::1]", "fastapi")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    site: str | None = None  # the name at which the edge serves it; one more allowed host
    trusted_proxy: str | None = None  # the host name of the edge, which says which client it serves

    database_url: str = Field(default="sqlite:///data/app.db", repr=False)
    database_password: SecretStr | None = None  # inserted into the URL, unless that has one
    database_pool_size: int | None = Field(default=None, ge=1)  # see limits.pool_size
    database_max_connections: int = Field(default=100, ge=1)
    allow_sqlite: bool = False
    migrate_on_reload: bool = True
    redis_url: str = Field(default="redis://localhost:6379/0", repr=False)
    redis_password: SecretStr | None = None
    redis_sentinel_password: SecretStr | None = None
    redis_ca_file: Path | None = None

    otel_exporter_otlp_endpoint: str | None = Field(default=None, repr=False)
    otel_exporter_otlp_headers: str | None = Field(default=None, repr=False)
    sentry_dsn: str | None = Field(default=None, repr=False)

    max_upload_mb: int = Field(default=50, ge=1)
    max_uploads: int = Field(default=8, ge=1)  # per process
    max_uploads_per_client: int = Field(default=6, ge=1)
    max_streams: int = Field(default=2000, ge=1)  # per process
    max_streams_per_client: int = Field(default=100, ge=1)

    web_concurrency: int | None = Field(default=None, ge=1)  # processes of an API container; Gunicorn sets it
    api_replicas: int = Field(default=1, ge=0)
    worker_replicas: int = Field(default=3, ge=0)

    rq_queues: Annotated[tuple[str, ...], NoDecode] = Field(default=("high", "default", "low"), min_length=1)
    rq_worker_autoreload: bool = False
    rq_worker_check_interval: float = Field(default=2.0, gt=0)  # seconds
    rq_worker_heartbeat_file: Path | None = None
    rq_worker_max_restarts: int = Field(default=10, ge=1)
    job_timeout: int = Field(default=300, ge=1)  # seconds
    job_retries: int = Field(default=3, ge=0)
    worker_stop_grace_period: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read each setting whose variable with the suffix `_FILE` names a file.

        Pydantic's own `secrets_dir` needs one folder, with files named after the settings. If a file can't be
        used, the value is a ValueError that says why, so that validation reports all mistakes at once.
        """
        for name in cls.model_fields:
            variable = name.upper()
            if path := os.environ.get(f"{variable}_FILE"):
                if name not in values:
                    values |= {name: content} if (content := _content(variable, path)) else {}
                elif values[name] == os.environ.get(variable):
                    values[name] = ValueError(
                        f"both {variable} and {variable}_FILE are set: keep one of them"
                    )
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _report_file_problem(cls, value: Any) -> Any:
        if isinstance(value, ValueError):
            raise value
        return value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return [_api_key(number, entry) for number, entry in enumerate(value.replace(",", " ").split(), 1)]

    @field_validator("allowed_hosts", "cors_origins", "rq_queues", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Split a list, whose items are separated by commas or whitespace."""
        return value.replace(",", " ").split() if isinstance(value, str) else value

    @field_validator("database_url", "redis_url")
    @classmethod
    def _is_url(cls, value: str, info: ValidationInfo) -> str:
        parts = urlsplit(value)
        if not parts.scheme:
            raise ValueError(f"{public(value)} is not a URL")
        if info.field_name == "redis_url":
            if parts.scheme not in ("redis", "rediss", "unix") and not SENTINEL_URL.fullmatch(value):
                expected = "neither redis://host/0 nor redis+sentinel://host,host2/master/0"
                raise ValueError(f"{public(value)} is {expected}")
            try:
                for host in parts.netloc.rpartition("@")[2].split(","):
                    _ = urlsplit(f"//{host}").port
            except ValueError:  # its own text quotes what may be a part of the password
                fix = "use a number up to 65535, and in a password %2F %3F %23 for / ? #"
                raise ValueError(f"the port in {public(value)} is not one; {fix}") from None
        return value

    @field_validator("redis_ca_file")
    @classmethod
    def _is_certificate(cls, value: Path) -> Path:
        import ssl  # here, because it takes a while

        try:
            ssl.create_default_context(cafile=value)
        except OSError as error:
            raise ValueError(f"no certificate in PEM format can be read from {value}") from error
        return value

    @model_validator(mode="after")
    def _insert_passwords(self) -> Self:
        """Insert each password into its URL, so that the rest of the code only needs the URLs."""
        if self.database_password:
            self.database_url = _with_password(self.database_url, self.database_password.get_secret_value())
        if self.redis_password:
            self.redis_url = _with_password(self.redis_url, self.redis_password.get_secret_value())
        return self

    @property
    def max_upload_bytes(self) -> int:
        """Largest file that can be uploaded, in bytes."""
        return self.max_upload_mb * 1024 * 1024


def _content(variable: str, path: str) -> str | ValueError:
    """The content of a setting's file, or what is wrong with it."""
    try:
        # Without trailing newlines, as $(cat FILE) in a shell passes it to Redis and Postgres.
        return Path(path).read_bytes().decode().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not valid UTF-8"
        return ValueError(f"{variable}_FILE names {path}, which can't be read: {reason}")


def public(url: str) -> str:
    """A URL without its user, password and options."""
    return re.sub("^(.*?//)?.*@", r"\1", url).partition("?")[0]


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
        pydantic.ValidationError: a value is invalid; the message names the setting.
    """
    return KitSettings()
