"""What telemetry tells about itself and the process: what was kept, what was lost, and where.

Telemetry may lose things under load; these rows are how anybody would know. Their numbers are read from the
parts' own statistics at every scrape (``selfwatch``), so that no part counts twice. Values of the labels are
words of the code, never data.

Prometheus' own clients call the process's basics ``process_…`` without a prefix; here they have the same
names behind the namespace, like everything else.
"""

from __future__ import annotations

from typing import Final

from seawall.telemetry.metrics.metric import Aggregation, Kind, Metric

__all__ = [
    "BUILD",
    "EXPORTED",
    "EXPORT_ATTEMPTS",
    "EXPORT_FAILURES",
    "EXPORT_PENDING",
    "EXPORT_TROUBLES",
    "LANE_CAPACITY",
    "LANE_DEPTH",
    "LOG_ERRORS",
    "LOG_LINES_MASKED",
    "LOG_LINES_TRUNCATED",
    "LOG_QUEUE",
    "LOG_QUEUE_BYTES",
    "LOG_RECORDS",
    "LOG_WRITE_ERRORS",
    "OWN",
    "PROCESS_CPU",
    "PROCESS_MAX_FDS",
    "PROCESS_OPEN_FDS",
    "PROCESS_RESIDENT",
    "PROCESS_START_TIME",
    "PROCESS_VIRTUAL",
    "SCRAPES",
    "SCRAPE_LOSSES",
    "SCRAPE_SERIES",
    "SEGMENTS",
    "SEGMENTS_EVICTED",
    "SERIES",
    "SERIES_FORGOTTEN",
    "SERIES_LIMIT",
    "SPANS",
    "SPANS_LATE",
    "SPANS_LOST",
    "SPANS_OPEN",
    "TRACING_FAULTS",
    "UNREADABLE",
]

SEGMENTS: Final = Metric(
    name="telemetry_segments",
    kind=Kind.COUNTER,
    help="Local parts of traces that were judged, by what they were kept for, or dropped or abandoned.",
    labels=("fate",),
)
SEGMENTS_EVICTED: Final = Metric(
    name="telemetry_segments_evicted",
    kind=Kind.COUNTER,
    help="Local parts of traces that were judged early, because too many spans were open.",
)
SPANS: Final = Metric(
    name="telemetry_spans",
    kind=Kind.COUNTER,
    help="Spans by what became of their part of the trace: kept, dropped, abandoned.",
    labels=("fate",),
)
SPANS_OPEN: Final = Metric(
    name="telemetry_spans_open", kind=Kind.GAUGE, help="Spans of parts of traces that are not judged yet."
)
SPANS_LATE: Final = Metric(
    name="telemetry_spans_late",
    kind=Kind.COUNTER,
    help="Spans that ended after their part of the trace was judged.",
)
SPANS_LOST: Final = Metric(
    name="telemetry_spans_lost",
    kind=Kind.COUNTER,
    help="Kept spans that no collector will see, by where they were lost and why.",
    labels=("stage", "reason"),
)
LANE_DEPTH: Final = Metric(
    name="telemetry_lane_depth", kind=Kind.GAUGE, help="Finished spans that wait for the exporter."
)
LANE_CAPACITY: Final = Metric(
    name="telemetry_lane_capacity", kind=Kind.GAUGE, help="Finished spans that may wait for the exporter."
)
EXPORTED: Final = Metric(
    name="telemetry_spans_exported", kind=Kind.COUNTER, help="Spans that the collector accepted."
)
EXPORT_PENDING: Final = Metric(
    name="telemetry_export_pending",
    kind=Kind.GAUGE,
    help="Spans that are being encoded or sent, or wait for another attempt.",
)
EXPORT_ATTEMPTS: Final = Metric(
    name="telemetry_export_attempts", kind=Kind.COUNTER, help="Requests sent to the collector."
)
EXPORT_FAILURES: Final = Metric(
    name="telemetry_export_failures",
    kind=Kind.COUNTER,
    help="Requests to the collector that failed, by reason.",
    labels=("reason",),
)
EXPORT_TROUBLES: Final = Metric(
    name="telemetry_export_troubles",
    kind=Kind.GAUGE,
    help="Requests to the collector that have failed in a row, up to now.",
    aggregation=Aggregation.MAX,
)
TRACING_FAULTS: Final = Metric(
    name="telemetry_tracing_faults",
    kind=Kind.COUNTER,
    help="Calls of the tracing API that could not do what they were asked for, by what was wrong.",
    labels=("what",),
)
LOG_RECORDS: Final = Metric(
    name="telemetry_log_records",
    kind=Kind.COUNTER,
    help="Log records by what became of them: written, dropped for want of room, failed.",
    labels=("fate",),
)
LOG_QUEUE: Final = Metric(
    name="telemetry_log_queue", kind=Kind.GAUGE, help="Log records that wait to be written."
)
LOG_QUEUE_BYTES: Final = Metric(
    name="telemetry_log_queue_size",
    kind=Kind.GAUGE,
    help="What the waiting log records count for in the bound of their queue.",
    unit="bytes",
)
LOG_ERRORS: Final = Metric(
    name="telemetry_log_errors",
    kind=Kind.COUNTER,
    help="Log calls cut short by what they were given, and processors that failed.",
)
LOG_WRITE_ERRORS: Final = Metric(
    name="telemetry_log_write_errors",
    kind=Kind.COUNTER,
    help="What went wrong in writing log lines, by the name of the system's error.",
    labels=("errno",),
)
LOG_LINES_MASKED: Final = Metric(
    name="telemetry_log_masked", kind=Kind.COUNTER, help="Texts of log records in which something was masked."
)
LOG_LINES_TRUNCATED: Final = Metric(
    name="telemetry_log_truncated",
    kind=Kind.COUNTER,
    help="Log lines from which something was left out for its size.",
)
SCRAPES: Final = Metric(
    name="telemetry_scrapes", kind=Kind.COUNTER, help="Scrapes written to their end before this one."
)
SCRAPE_SERIES: Final = Metric(
    name="telemetry_scrape_series", kind=Kind.COUNTER, help="Series written in all scrapes before this one."
)
SCRAPE_LOSSES: Final = Metric(
    name="telemetry_scrape_losses",
    kind=Kind.COUNTER,
    help="What scrapes had to leave out, by kind.",
    labels=("what",),
)
SERIES: Final = Metric(
    name="telemetry_series", kind=Kind.GAUGE, help="Series of all metrics, without the overflow series."
)
SERIES_LIMIT: Final = Metric(
    name="telemetry_series_limit", kind=Kind.GAUGE, help="Series that all metrics together may have."
)
SERIES_FORGOTTEN: Final = Metric(
    name="telemetry_series_forgotten",
    kind=Kind.COUNTER,
    help="Gauges that were forgotten because nobody has set them for too long.",
)
UNREADABLE: Final = Metric(
    name="telemetry_unreadable",
    kind=Kind.COUNTER,
    help="Times that a part of telemetry could not be asked for its numbers, by part.",
    labels=("part",),
)
PROCESS_START_TIME: Final = Metric(
    name="process_start_time",
    kind=Kind.GAUGE,
    help="When the process began, in seconds since 1970; of several processes, when the first one did.",
    unit="seconds",
    aggregation=Aggregation.MIN,
)
PROCESS_CPU: Final = Metric(
    name="process_cpu", kind=Kind.COUNTER, help="User and system time that was spent.", unit="seconds"
)
PROCESS_RESIDENT: Final = Metric(
    name="process_resident_memory", kind=Kind.GAUGE, help="Memory that is in use.", unit="bytes"
)
PROCESS_VIRTUAL: Final = Metric(
    name="process_virtual_memory", kind=Kind.GAUGE, help="Size of the address space.", unit="bytes"
)
PROCESS_OPEN_FDS: Final = Metric(
    name="process_open_fds",
    kind=Kind.GAUGE,
    help="Open file descriptors; of several processes, those of the one that has most.",
    aggregation=Aggregation.MAX,
)
PROCESS_MAX_FDS: Final = Metric(
    name="process_max_fds",
    kind=Kind.GAUGE,
    help="File descriptors that a process may open.",
    aggregation=Aggregation.MIN,
)
BUILD: Final = Metric(
    name="build",
    kind=Kind.INFO,
    help="What runs: its version, and the interpreter's name and version.",
    labels=("version", "implementation", "python"),
)

OWN: Final = (
    SEGMENTS,
    SEGMENTS_EVICTED,
    SPANS,
    SPANS_OPEN,
    SPANS_LATE,
    SPANS_LOST,
    LANE_DEPTH,
    LANE_CAPACITY,
    EXPORTED,
    EXPORT_PENDING,
    EXPORT_ATTEMPTS,
    EXPORT_FAILURES,
    EXPORT_TROUBLES,
    TRACING_FAULTS,
    LOG_RECORDS,
    LOG_QUEUE,
    LOG_QUEUE_BYTES,
    LOG_ERRORS,
    LOG_WRITE_ERRORS,
    LOG_LINES_MASKED,
    LOG_LINES_TRUNCATED,
    SCRAPES,
    SCRAPE_SERIES,
    SCRAPE_LOSSES,
    SERIES,
    SERIES_LIMIT,
    SERIES_FORGOTTEN,
    UNREADABLE,
    PROCESS_START_TIME,
    PROCESS_CPU,
    PROCESS_RESIDENT,
    PROCESS_VIRTUAL,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
    BUILD,
)
"""All of them."""
