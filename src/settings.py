"""The settings of this service, on top of those in `src/kit/settings.py`.

Each field is an environment variable of the same name in capitals. Explain it in `.env.example`, and list it
under `x-settings` in `docker-compose.yml`.
"""

from functools import lru_cache

from pydantic import Field

from src.kit.settings import Duration, KitSettings


class Settings(KitSettings):
    """The settings of the features of this service."""

    sales_max_rows: int = Field(default=2_000_000, ge=1)
    sales_max_rejected_rows: int = Field(default=10_000, ge=0)
    sales_max_waiting_mb: int = Field(default=2000, ge=1)
    sales_keep_files: Duration = Field(default="168h", validate_default=True)


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        pydantic.ValidationError: a value is invalid; the message names the setting.
    """
    return Settings()
