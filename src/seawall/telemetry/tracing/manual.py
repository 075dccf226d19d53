"""Spans by hand, in one line: ``with span("parse", size=12):`` or ``@span("parse")``.

Goes through whatever tracer provider the application has installed, this package's or any other.
"""

from __future__ import annotations

from typing import Final

from opentelemetry import trace as api
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AnyValue

from seawall.telemetry.tracing.activation import Activation

__all__ = ["span"]

SCOPE: Final = "seawall"
"""The instrumentation scope of spans made by hand."""

_last: tuple[object, api.Tracer] = (None, api.NoOpTracer())
"""The provider that was installed last time, and its tracer; one tuple, so that they belong together."""


def _tracer() -> api.Tracer:
    global _last  # noqa: PLW0603  # a cache of one entry
    provider = api.get_tracer_provider()
    known, tracer = _last
    if known is not provider:
        tracer = provider.get_tracer(SCOPE)
        _last = (provider, tracer)
    return tracer


def span(name: str, /, **attributes: AnyValue) -> Activation:
    """A span around a ``with`` block, or around each call of a function, async or not.

    An exception that leaves it is recorded and becomes its status.

    Args:
        name: What the operation is called.
        **attributes: What is known about it; names with dots go through ``**{"event.id": 7}``.

    Returns:
        A context manager, which gives the span, and a decorator. A function that is decorated before a
        provider is installed uses that provider from then on.
    """
    return Activation(
        _tracer(), (name, None, SpanKind.INTERNAL, attributes or None, None, None, True, True), True
    )
