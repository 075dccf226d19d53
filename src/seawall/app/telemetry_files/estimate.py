"""What telemetry costs: bytes, series, lines and a share of a core, from a few numbers about the load.

Plain arithmetic, without a measurement of its own; the costs of a span are parameters. Kilo and mega are
powers of ten throughout, as networks and disks are sold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Final

from seawall.kernel.errors import PolicyError, Problem

__all__ = ["DAY_S", "SPAN_FIGURE", "Estimate", "Load", "estimate", "measured_span_us"]

DAY_S: Final = 86_400
SERIES_TEXT_BYTES: Final = 90
"""One series in a scrape's text, before compression: a name, two labels, a number."""
SAMPLE_BYTES: Final = 1.7
"""One sample in Prometheus' storage; its documentation reckons with 1 to 2 bytes."""
SPAN_FIGURE: Final = "span start and end, sampled, queued"
"""What the benchmark of telemetry calls the cost of a span, in nanoseconds."""

_SHARES: Final = frozenset({"ratio", "error_ratio", "slow_ratio"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the load is.

    Attributes:
        requests_per_second: Requests.
        spans_per_request: Spans that each makes, in all services together that export.
        span_bytes: Size of a span on the wire.
        ratio: Share of traces that is kept whatever they are.
        error_ratio: Share of requests that fail; their traces are kept.
        slow_ratio: Share of requests that are slow; their traces are kept.
        series: Series of metrics.
        scrape_interval_s: Seconds between two scrapes.
        log_lines_per_request: Log lines that each request makes.
        log_line_bytes: Size of a log line.
        span_us: Microseconds of a core that a span takes, from its start to its end.
        export_us: Microseconds of a core that a kept span takes besides, to be encoded and sent.

    Raises:
        PolicyError: A number makes no sense; every one that doesn't is named.
    """

    requests_per_second: float = 5_000.0
    spans_per_request: float = 6.0
    span_bytes: float = 1_000.0
    ratio: float = 0.10
    error_ratio: float = 0.001
    slow_ratio: float = 0.001
    series: float = 1_000.0
    scrape_interval_s: float = 15.0
    log_lines_per_request: float = 0.1
    log_line_bytes: float = 500.0
    span_us: float = 1.0
    export_us: float = 3.0

    def __post_init__(self) -> None:
        """Check everything."""
        problems = list(_problems(self))
        if problems:
            raise PolicyError(problems, "estimate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What it costs.

    Attributes:
        spans_per_second: Spans made.
        trace_bytes_per_second: What they would take if all of them were exported.
        trace_bytes_per_day: The same in a day.
        kept_share: Share of the traces that tail sampling keeps.
        kept_spans_per_second: Their spans.
        kept_bytes_per_second: What these take.
        kept_bytes_per_day: The same in a day.
        samples_per_second: Numbers that Prometheus stores.
        scrape_bytes: One scrape, before compression.
        metric_bytes_per_day: What Prometheus stores in a day.
        log_lines_per_second: Log lines.
        log_bytes_per_second: What they take.
        log_bytes_per_day: The same in a day.
        cpu_share: Share of one core that tracing takes.
    """

    spans_per_second: float
    trace_bytes_per_second: float
    trace_bytes_per_day: float
    kept_share: float
    kept_spans_per_second: float
    kept_bytes_per_second: float
    kept_bytes_per_day: float
    samples_per_second: float
    scrape_bytes: float
    metric_bytes_per_day: float
    log_lines_per_second: float
    log_bytes_per_second: float
    log_bytes_per_day: float
    cpu_share: float


def estimate(load: Load) -> Estimate:
    """What a load's telemetry costs.

    Args:
        load: The load. Errors, slowness and the dice are taken as independent of each other.
    """
    spans = load.requests_per_second * load.spans_per_request
    traces = spans * load.span_bytes
    kept = 1.0 - (1.0 - load.error_ratio) * (1.0 - load.slow_ratio) * (1.0 - load.ratio)
    samples = load.series / load.scrape_interval_s
    lines = load.requests_per_second * load.log_lines_per_request
    logs = lines * load.log_line_bytes
    return Estimate(
        spans_per_second=spans,
        trace_bytes_per_second=traces,
        trace_bytes_per_day=traces * DAY_S,
        kept_share=kept,
        kept_spans_per_second=spans * kept,
        kept_bytes_per_second=traces * kept,
        kept_bytes_per_day=traces * kept * DAY_S,
        samples_per_second=samples,
        scrape_bytes=load.series * SERIES_TEXT_BYTES,
        metric_bytes_per_day=samples * SAMPLE_BYTES * DAY_S,
        log_lines_per_second=lines,
        log_bytes_per_second=logs,
        log_bytes_per_day=logs * DAY_S,
        cpu_share=(spans * load.span_us + spans * kept * load.export_us) / 1e6,
    )


def measured_span_us(record: Mapping[str, Any]) -> float:
    """What a span has cost in a recorded run of the benchmark, in microseconds.

    Args:
        record: One of ``benchmarks/results``.

    Raises:
        PolicyError: It has no such figure.
    """
    figures = record.get("figures")
    for one in figures if isinstance(figures, list) else []:
        fits = isinstance(one, dict) and one.get("figure") == SPAN_FIGURE and one.get("unit") == "ns"
        if fits and isinstance(value := one.get("value"), int | float):
            return value / 1_000.0
    problem = Problem(
        "results",
        "no such figure",
        f"a record with {SPAN_FIGURE!r} in ns",
        "take benchmarks/results/telemetry.json",
    )
    raise PolicyError([problem], "estimate")


def _problems(load: Load) -> Iterator[Problem]:
    for field in fields(load):
        value = getattr(load, field.name)
        if field.name in _SHARES:
            fits, allowed = 0.0 <= value <= 1.0, "a share from 0 to 1"
        elif field.name == "scrape_interval_s":
            fits, allowed = 0.001 <= value <= DAY_S, "seconds from 0.001 to a day"
        else:
            fits, allowed = 0.0 <= value <= 1e12, "a number from 0 to 1e12"
        if not isfinite(value) or not fits:
            yield Problem(field.name, value, allowed)
