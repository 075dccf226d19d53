"""Which number of which part's statistics is which row of the catalogue.

Pure: statistics in, readings out. A counter's reading is the part's own total, whatever was read before.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from seawall._version import __version__
from seawall.telemetry.catalogue import own
from seawall.telemetry.metrics.metric import Metric

if TYPE_CHECKING:
    # Tracing and logs need packages of an extra; whoever has none of these parts needs none of them.
    from seawall.telemetry.exposition.writer import WriterStatistics
    from seawall.telemetry.logs.handle import LogStatistics
    from seawall.telemetry.metrics.gathering import CollectorStatistics
    from seawall.telemetry.metrics.registry import RegistryStatistics
    from seawall.telemetry.otlp.exporter import ExporterStatistics
    from seawall.telemetry.tracing.provider import TracingStatistics

__all__ = [
    "Reading",
    "build",
    "of_collector",
    "of_exporter",
    "of_logs",
    "of_registry",
    "of_tracing",
    "of_writer",
]


class Reading(NamedTuple):
    """One number.

    Attributes:
        metric: Its row.
        values: Values of the row's labels.
        value: The number; of a counter, all there ever was.
    """

    metric: Metric
    values: tuple[str, ...]
    value: float


def of_tracing(statistics: TracingStatistics) -> Iterator[Reading]:
    """A tracer provider's."""
    segments, lane = statistics.segments, statistics.lane
    for reason, count in segments.kept.items():
        yield Reading(own.SEGMENTS, (reason,), count)
    yield Reading(own.SEGMENTS, ("dropped",), segments.dropped)
    yield Reading(own.SEGMENTS, ("abandoned",), segments.abandoned)
    yield Reading(own.SEGMENTS_EVICTED, (), segments.evicted)
    yield Reading(own.SPANS, ("kept",), segments.spans_kept)
    yield Reading(own.SPANS, ("dropped",), segments.spans_dropped)
    yield Reading(own.SPANS, ("abandoned",), segments.spans_abandoned)
    yield Reading(own.SPANS_OPEN, (), segments.spans_open)
    yield Reading(own.SPANS_LATE, (), segments.spans_late)
    for reason, count in lane.dropped.items():
        yield Reading(own.SPANS_LOST, ("lane", reason), count)
    yield Reading(own.LANE_DEPTH, (), lane.waiting)
    yield Reading(own.LANE_CAPACITY, (), lane.capacity)
    yield Reading(own.TRACING_FAULTS, ("after_end",), segments.after_end)
    yield Reading(own.TRACING_FAULTS, ("detached_elsewhere",), segments.detached_elsewhere)
    yield Reading(own.TRACING_FAULTS, ("arguments",), segments.failed)
    yield Reading(own.TRACING_FAULTS, ("processor",), segments.processor_errors)


def of_exporter(statistics: ExporterStatistics) -> Iterator[Reading]:
    """An exporter's."""
    yield Reading(own.EXPORTED, (), statistics.exported)
    for reason, count in statistics.dropped.items():
        yield Reading(own.SPANS_LOST, ("export", reason), count)
    yield Reading(own.EXPORT_PENDING, (), statistics.pending)
    yield Reading(own.EXPORT_ATTEMPTS, (), statistics.attempts)
    for reason, count in statistics.failed.items():
        yield Reading(own.EXPORT_FAILURES, (reason,), count)
    yield Reading(own.EXPORT_FAILURES, ("fault",), statistics.faults)
    yield Reading(own.EXPORT_TROUBLES, (), statistics.troubles)


def of_logs(statistics: LogStatistics) -> Iterator[Reading]:
    """A log handle's."""
    yield Reading(own.LOG_RECORDS, ("written",), statistics.written)
    yield Reading(own.LOG_RECORDS, ("dropped",), statistics.dropped)
    yield Reading(own.LOG_RECORDS, ("failed",), statistics.failed)
    yield Reading(own.LOG_QUEUE, (), statistics.queued)
    yield Reading(own.LOG_QUEUE_BYTES, (), statistics.queued_bytes)
    yield Reading(own.LOG_ERRORS, (), statistics.errors)
    for name, count in statistics.write_errors:
        yield Reading(own.LOG_WRITE_ERRORS, (name,), count)
    yield Reading(own.LOG_LINES_MASKED, (), statistics.masked)
    yield Reading(own.LOG_LINES_TRUNCATED, (), statistics.truncated)


def of_writer(statistics: WriterStatistics) -> Iterator[Reading]:
    """A writer's."""
    yield Reading(own.SCRAPES, (), statistics.scrapes)
    yield Reading(own.SCRAPE_SERIES, (), statistics.series)
    yield Reading(own.SCRAPE_LOSSES, ("exemplars",), statistics.exemplars_dropped)
    yield Reading(own.SCRAPE_LOSSES, ("families_unreadable",), statistics.families_dropped)
    yield Reading(own.SCRAPE_LOSSES, ("families_clashing",), statistics.families_clashing)
    yield Reading(own.SCRAPE_LOSSES, ("sources",), statistics.sources_failed)
    yield Reading(own.SCRAPE_LOSSES, ("refreshes",), statistics.refreshes_failed)


def of_registry(statistics: RegistryStatistics) -> Iterator[Reading]:
    """A registry's."""
    yield Reading(own.SERIES, (), statistics.series)
    yield Reading(own.SERIES_LIMIT, (), statistics.series_limit)
    yield Reading(own.SERIES_FORGOTTEN, (), statistics.forgotten)


def of_collector(statistics: CollectorStatistics) -> Iterator[Reading]:
    """A collector's: the series of all processes."""
    yield Reading(own.SERIES, (), statistics.series)
    yield Reading(own.SERIES_LIMIT, (), statistics.series_limit)


def build() -> Reading:
    """What runs; it never changes."""
    values = (__version__, platform.python_implementation(), platform.python_version())
    return Reading(own.BUILD, values, 1)
