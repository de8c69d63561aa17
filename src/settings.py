"""The settings of this service, on top of those in `src/kit/settings.py`.

A field is an environment variable of the same name in capitals. Explain each one in `.env.example`, and list
it under `x-settings` in `docker-compose.yml`.
"""

from functools import lru_cache

from pydantic import Field

from src.kit.settings import KitSettings


class Settings(KitSettings):
    """What the features of this service can be told from outside."""

    sales_max_rows: int = Field(
        default=5_000_000, ge=1, description="Largest number of rows in a file of sales."
    )


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        pydantic.ValidationError: a value is not of its type; the message names the variable.
    """
    return Settings()
