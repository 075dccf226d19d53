"""Which provider an application gets: this package's, the OpenTelemetry SDK's, or none.

One call from settings to a provider. It installs nothing; ``opentelemetry.trace.set_tracer_provider`` does.
"""

from __future__ import annotations

import importlib
from typing import Any, final

from opentelemetry import trace as api
from opentelemetry.context.context import Context
from opentelemetry.trace import StatusCode

from seawall.kernel.errors import UsageError
from seawall.telemetry.tracing.lane import Lane
from seawall.telemetry.tracing.provider import TracerProvider
from seawall.telemetry.tracing.readable import process_resource
from seawall.telemetry.tracing.settings import TracingSettings

__all__ = ["LaneProcessor", "make_provider"]


@final
class LaneProcessor:
    """A span processor of the SDK that puts ended spans into a lane, for this package's exporter.

    The SDK knows no segments, so each sampled span is offered alone.

    Args:
        lane: Where they go.
    """

    __slots__ = ("lane",)

    def __init__(self, lane: Lane[Any]) -> None:
        self.lane = lane

    def on_start(self, span: object, parent_context: Context | None = None) -> None:
        """A span has started: nothing to do before it ends."""

    def _on_ending(self, span: object) -> None:
        """A span is ending: nothing to do before it has."""

    def on_end(self, span: Any) -> None:  # noqa: ANN401  # the SDK's span
        """A span has ended."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.lane.offer((span,), urgent=span.status.status_code is StatusCode.ERROR)

    def shutdown(self) -> None:
        """No more spans come; those in the lane can still be taken."""
        self.lane.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  # the lane's exporter has its own time
        """Nothing is held back here."""
        return True


def make_provider(settings: TracingSettings) -> tuple[api.TracerProvider, Lane[Any]]:
    """The provider that the settings ask for.

    Args:
        settings: Whose provider, and how.

    Returns:
        The provider, and the lane in which its finished spans wait for an exporter.

    Raises:
        UsageError: The SDK is asked for and not installed.
    """
    if settings.provider == "light":
        light = TracerProvider(
            resource=process_resource(settings.resource),
            sampling=settings.sampling,
            limits=settings.limits,
            exceptions=settings.exceptions,
        )
        return light, light.lane
    lane: Lane[Any] = Lane(settings.limits.lane_spans, reserve=settings.limits.lane_reserve)
    if settings.provider == "off":
        return api.NoOpTracerProvider(), lane
    try:
        # not imported as a name: an application without the SDK has to be able to import this module
        sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
        sampling: Any = importlib.import_module("opentelemetry.sdk.trace.sampling")
        resources: Any = importlib.import_module("opentelemetry.sdk.resources")
    except ImportError as missing:
        raise UsageError(
            'tracing.provider = "sdk": opentelemetry-sdk is not installed; install it, or use "light"'
        ) from missing
    limits = settings.limits
    provider = sdk.TracerProvider(
        resource=resources.Resource.create(dict(settings.resource)),
        sampler=sampling.ParentBasedTraceIdRatio(settings.sampling.ratio),
        span_limits=sdk.SpanLimits(
            max_span_attributes=limits.attributes,
            max_event_attributes=limits.event_attributes,
            max_link_attributes=limits.link_attributes,
            max_events=limits.events,
            max_links=limits.links,
            max_attribute_length=limits.value_length,
        ),
    )
    provider.add_span_processor(LaneProcessor(lane))
    return provider, lane
