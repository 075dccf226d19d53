"""Spans: ours into its lane, the OpenTelemetry SDK's into the queue of its batch processor.

A window's spans are all in the queue at its end, which is looked at after the clock has stopped; nobody takes
them out meanwhile, so no exporter's time is in these figures. Our span ids are drawn when somebody asks, so
one row asks for all that an export asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as OtelProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.util.types import AnyValue

from benchmarks.arms import loop
from benchmarks.harness import Arm
from benchmarks.telemetering.costs import OTEL, OURS, Row
from seawall.telemetry.tracing import Limits, Sampling, TracerProvider

__all__ = ["ATTRIBUTES", "rows"]

SPAN_NS, SPAN_GOAL_NS = 1_000.0, 500.0
WINDOW = 1_000
"""Spans that come between two looks of an exporter into a busy lane."""
ROOM = 50_000
NEVER_MS = 10_000_000.0
ATTRIBUTES: Final[Mapping[str, AnyValue]] = {
    "db.system.name": "postgresql",
    "db.operation.name": "SELECT",
    "server.port": 5432,
    "db.response.returned_rows": 17,
    "seawall.replayed": False,
}


class _Nowhere(SpanExporter):
    """Takes what it is given, and forgets it."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002  # the SDK's interface
        return SpanExportResult.SUCCESS


def rows() -> list[Row]:
    """Start and end, in the ways in which it is done."""
    statements = {
        "span start and end": ("t.start_span('query').end()", 1),
        "span start and end, 5 attributes": ("t.start_span('query', attributes=a).end()", 1),
        "span as the current one around a block": ("with t.start_as_current_span('query'):\n    pass", 1),
        "span and a child, each around a block": (
            "with t.start_as_current_span('request'), t.start_as_current_span('query'):\n    pass",
            2,
        ),
    }
    kept = [
        Row(
            name=f"{name}, sampled, queued",
            target=SPAN_NS if index == 0 else None,
            goal=SPAN_GOAL_NS if index == 0 else None,
            arms={OURS: ours(statement, spans), OTEL: theirs(statement, spans)},
            number=WINDOW,
        )
        for index, (name, (statement, spans)) in enumerate(statements.items())
    ]
    asked = "s = t.start_span('query'); s.end(); s.lineage()"
    dropped = "t.start_span('query').end()"
    return [
        *kept,
        Row(
            name="span start and end, sampled, queued, and the ids that an export asks for",
            arms={OURS: ours(asked, 1)},
            number=WINDOW,
        ),
        Row(
            name="span start and end, not sampled",
            arms={OURS: ours(dropped, 0, ratio=0.0), OTEL: theirs(dropped, 0, sampled=False)},
            number=WINDOW,
        ),
    ]


def ours(statement: str, spans: int, *, ratio: float = 1.0) -> Arm:
    """The statement with our tracer; each leaves so many spans in the lane."""
    provider = TracerProvider(sampling=Sampling(ratio=ratio), limits=Limits(lane_spans=ROOM, open_spans=ROOM))
    arm = loop(statement, t=provider.get_tracer("benchmark"), a=ATTRIBUTES)
    return queued(arm, lambda: provider.lane.waiting, provider.lane.forget, spans)


def theirs(statement: str, spans: int, *, sampled: bool = True) -> Arm:
    """The statement with the SDK's tracer and its batch processor."""
    provider = OtelProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    # A batch as large as the queue and a delay without end: its thread sleeps through the measurement.
    processor = BatchSpanProcessor(_Nowhere(), ROOM, NEVER_MS, ROOM)
    provider.add_span_processor(processor)
    waiting = processor._batch_processor._queue
    arm = loop(statement, t=provider.get_tracer("benchmark"), a=ATTRIBUTES)
    return queued(arm, lambda: len(waiting), waiting.clear, spans)


def queued(arm: Arm, waiting: Callable[[], int], forget: Callable[[], object], spans: int) -> Arm:
    """The arm with a look at what it has left in the queue, which is empty again afterwards.

    Raises:
        AssertionError: It isn't ``spans`` for each operation.
    """

    def run(number: int) -> float:
        spent = arm(number)
        found = waiting()
        assert found == number * spans, f"{found} spans are queued, not {number * spans}"
        forget()
        return spent

    return run
