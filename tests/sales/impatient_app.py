"""The application with less patience for a body that stops, so that tests need not wait for long."""

from src.kit.web import body_limit
from src.main import app

__all__ = ["app"]

body_limit.PATIENCE = 2.0
