"""Counters, gauges and histograms: ours, prometheus_client's, and those of the OpenTelemetry SDK.

Each is used as its documentation says: whoever counts holds on to the series. The SDK has no such thing and
gets its attributes with each call; without labels, none.
"""

from __future__ import annotations

import prometheus_client
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import Histogram as OtelHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from prometheus_client import CollectorRegistry

from benchmarks.arms import loop
from benchmarks.telemetering.costs import OTEL, OURS, PROMETHEUS, Row
from seawall.telemetry.metrics import Kind, Metric, Registry

__all__ = ["BUCKETS", "rows"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OBSERVED = 0.03
COUNTER_NS, COUNTER_GOAL_NS = 50.0, 30.0
GAUGE_NS = 50.0
HISTOGRAM_NS, HISTOGRAM_GOAL_NS = 200.0, 90.0


def rows() -> list[Row]:
    """Counter, gauge, both histograms, and asking for a series by its labels."""
    registry, theirs, meter = Registry(), CollectorRegistry(), _meter()
    return [*_numbers(registry, theirs, meter), *_distributions(registry, theirs, meter)]


def _meter() -> Meter:
    native = View(
        instrument_type=OtelHistogram,
        instrument_name="native_*",
        aggregation=ExponentialBucketHistogramAggregation(),
    )
    classic = View(
        instrument_type=OtelHistogram,
        instrument_name="classic_*",
        aggregation=ExplicitBucketHistogramAggregation(BUCKETS),
    )
    provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False, views=[native, classic])
    return provider.get_meter("benchmark")


def _numbers(registry: Registry, theirs: CollectorRegistry, meter: Meter) -> list[Row]:
    labels = ("backend", "outcome")
    plain = registry.counter(Metric(name="plain", kind=Kind.COUNTER, help="Plain."))
    calls = registry.counter(Metric(name="calls", kind=Kind.COUNTER, help="Calls.", labels=labels))
    gauge = registry.gauge(Metric(name="open", kind=Kind.GAUGE, help="Open."))
    their_plain = prometheus_client.Counter("plain", "Plain.", registry=theirs)
    their_calls = prometheus_client.Counter("calls", "Calls.", labels, registry=theirs)
    their_gauge = prometheus_client.Gauge("open", "Open.", registry=theirs)
    return [
        Row(
            name="counter inc",
            target=COUNTER_NS,
            goal=COUNTER_GOAL_NS,
            arms={
                OURS: loop("c.inc()", c=plain.cell()),
                PROMETHEUS: loop("c.inc()", c=their_plain),
                OTEL: loop("c.add(1)", c=meter.create_counter("plain")),
            },
        ),
        Row(
            name="counter inc, looked up by two labels",
            arms={
                OURS: loop("f.cell('eu-1', 'ok').inc()", f=calls),
                PROMETHEUS: loop("c.labels('eu-1', 'ok').inc()", c=their_calls),
                OTEL: loop("c.add(1, {'backend': 'eu-1', 'outcome': 'ok'})", c=meter.create_counter("calls")),
            },
        ),
        Row(
            name="gauge set",
            target=GAUGE_NS,
            arms={
                OURS: loop("g.set(5)", g=gauge.cell()),
                PROMETHEUS: loop("g.set(5)", g=their_gauge),
                OTEL: loop("g.set(5)", g=meter.create_gauge("open")),
            },
        ),
    ]


def _distributions(registry: Registry, theirs: CollectorRegistry, meter: Meter) -> list[Row]:
    classic = registry.histogram(Metric(name="wait", kind=Kind.HISTOGRAM, help="Wait.", buckets=BUCKETS))
    native = registry.native_histogram(Metric(name="native", kind=Kind.NATIVE_HISTOGRAM, help="Wait."))
    their_classic = prometheus_client.Histogram("wait", "Wait.", buckets=BUCKETS, registry=theirs)
    return [
        Row(
            name=f"histogram observe, {len(BUCKETS)} bounds",
            target=HISTOGRAM_NS,
            goal=HISTOGRAM_GOAL_NS,
            arms={
                OURS: loop("h.observe(v)", h=classic.cell(), v=OBSERVED),
                PROMETHEUS: loop("h.observe(v)", h=their_classic, v=OBSERVED),
                OTEL: loop("h.record(v)", h=meter.create_histogram("classic_wait"), v=OBSERVED),
            },
        ),
        Row(
            name="native histogram observe",
            arms={
                OURS: loop("h.observe(v)", h=native.cell(), v=OBSERVED),
                OTEL: loop("h.record(v)", h=meter.create_histogram("native_wait"), v=OBSERVED),
            },
        ),
    ]
