"""Tracing: light spans behind OpenTelemetry's API, judged when their local root ends.

What it is not: an exporter (it fills a lane, somebody else empties it), and not the OpenTelemetry SDK, whose
provider can be used in its place.

Reading order: ``settings`` (what users write), ``segment`` (the table by which spans are kept), ``lane``,
``span``, ``tracer``, ``provider``; then ``attributes``, ``failing``, ``readable`` and ``json_text`` (what
spans are made of, and how they look), ``span_context``, ``current`` and ``activation`` (identities, and spans
around code), ``origin`` (what a tracer's spans share), ``processors`` (the SDK's), ``manual`` and ``switch``.
"""

from seawall.telemetry.tracing.activation import Activation
from seawall.telemetry.tracing.lane import Lane, LaneStatistics
from seawall.telemetry.tracing.manual import span
from seawall.telemetry.tracing.provider import TracerProvider, TracingStatistics
from seawall.telemetry.tracing.readable import Event, InstrumentationScope, Resource
from seawall.telemetry.tracing.segment import SegmentStatistics
from seawall.telemetry.tracing.settings import Limits, Sampling, TracingSettings
from seawall.telemetry.tracing.span import Span
from seawall.telemetry.tracing.switch import LaneProcessor, make_provider
from seawall.telemetry.tracing.tracer import Tracer

__all__ = [
    "Activation",
    "Event",
    "InstrumentationScope",
    "Lane",
    "LaneProcessor",
    "LaneStatistics",
    "Limits",
    "Resource",
    "Sampling",
    "SegmentStatistics",
    "Span",
    "Tracer",
    "TracerProvider",
    "TracingSettings",
    "TracingStatistics",
    "make_provider",
    "span",
]
