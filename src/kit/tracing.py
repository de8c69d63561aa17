"""Traces for OpenTelemetry and errors for Sentry; neither is loaded unless its setting is set.

Threads and connections don't survive a fork: what forks calls `load`, what serves or works calls `start`.
"""

import os
import signal
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from src.kit import limits
from src.kit.settings import KitSettings, get_settings

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
PRIVATE = {
    "user_info": False, "cookies": {"mode": "off"}, "url_query_params": {"mode": "off"}, "http_bodies": [],
    "database_query_data": False, "queues": False, "stack_frame_variables": False,
}  # fmt: skip
"""What Sentry is not told: a request and its API key may be in a variable."""


def missing_packages(settings: KitSettings) -> Iterator[str]:
    """What is switched on although its packages are not installed, and the fix."""
    fix = "run `pip install '.[tracing]'`, or set APP_EXTRAS=tracing and build the image again"
    for name, package in ("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry.sdk"), ("SENTRY_DSN", "sentry_sdk"):
        if getattr(settings, name.lower()) and not find_spec(package):
            yield f"{name} is set, but its packages are not installed: {fix}."


@lru_cache
def load() -> Any:
    """Prepare what is switched on: the provider and the exporter of spans, or None; Sentry also wraps RQ."""
    _connect_sentry()
    if not get_settings().otel_exporter_otlp_endpoint:
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider

    for name in ("otel_exporter_otlp_endpoint", "otel_exporter_otlp_headers"):  # they may come from files
        os.environ[name.upper()] = getattr(get_settings(), name) or ""
    service = tomllib.loads(PYPROJECT.read_text())["project"]["name"]  # what follows overrides it
    attributes = f"service.name={service},{os.environ.get('OTEL_RESOURCE_ATTRIBUTES', '')}"
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = attributes.rstrip(",")
    return TracerProvider(shutdown_on_exit=False), OTLPSpanExporter()


@lru_cache
def start() -> Any:
    """Send the spans and errors of this process from now on; the provider of spans, or None."""
    loaded = load()
    _connect_sentry()
    if not loaded:
        return None
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import set_tracer_provider

    provider, exporter = loaded
    provider.add_span_processor(BatchSpanProcessor(exporter))
    set_tracer_provider(provider)
    return provider


def _connect_sentry() -> None:
    """Connect; again after a fork, with what took 50 ms to find out, by asking Git for example."""
    if not (dsn := get_settings().sentry_dsn):
        return
    import sentry_sdk

    client = sentry_sdk.get_client()
    found = {"release": client.options["release"], "integrations": [*client.integrations.values()]}
    environment = os.environ.get("SENTRY_ENVIRONMENT") or get_settings().environment
    found |= {"environment": environment, "default_integrations": not client.is_active()}
    sentry_sdk.init(dsn, **found, data_collection=PRIVATE, shutdown_timeout=limits.TRACING_FLUSH)
    # The first logs what the middleware reports, too; the second, in development, query strings.
    for name in ("src.kit.web.problems", "uvicorn.access"):
        sentry_sdk.integrations.logging.ignore_logger(name)


def flush() -> None:
    """Send the spans of this process that wait, for at most `limits.TRACING_FLUSH` seconds."""
    if provider := start():  # in a thread, because OpenTelemetry ignores its own time limit
        thread = threading.Thread(target=provider.force_flush, daemon=True)
        thread.start()
        thread.join(limits.TRACING_FLUSH)


def of_new_job(function: Callable[..., Any] | str) -> dict[str, str]:
    """Record that this is enqueued; entries of the job's meta with which the job continues the trace."""
    carrier: dict[str, str] = {}
    if get_settings().otel_exporter_otlp_endpoint:
        from opentelemetry import propagate, trace

        name = function if isinstance(function, str) else f"{function.__module__}.{function.__qualname__}"
        with trace.get_tracer("rq").start_as_current_span(f"enqueue {name}", kind=trace.SpanKind.PRODUCER):
            propagate.inject(carrier)
    return carrier


@contextmanager
def span_of(job: Any) -> Iterator[None]:
    """A try of a job, as a span in the trace of what enqueued it; it is sent before the block is left."""
    if not (provider := start()):
        yield
        return
    from opentelemetry import propagate, trace

    parent, kind = propagate.extract(job.meta), trace.SpanKind.CONSUMER
    attributes = {"messaging.system": "rq", "messaging.message.id": job.id}
    try:
        with provider.get_tracer("rq").start_as_current_span(job.func_name, parent, kind, attributes):
            yield
    finally:
        signal.alarm(0)  # the job is over: its timeout must not hit while its spans are sent
        flush()
