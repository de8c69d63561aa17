"""What Alembic runs. Import each feature's models, so that `make migration` finds their tables."""

from src.kit.database.migrations import run_migrations
from src.sales import models as sales_models  # noqa: F401

run_migrations()
