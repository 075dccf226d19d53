"""A provider in a world of its own: clocks that stand still, ids that are counted."""

from random import Random
from typing import Any

from opentelemetry import trace as api
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from seawall.telemetry.tracing.provider import TracerProvider
from seawall.telemetry.tracing.settings import Limits, Sampling
from seawall.telemetry.tracing.span import Span

WALL_START_NS = 1_700_000_000_000_000_000
KEEP_BITS = (1 << 56) - 1
"""Random bits that every ratio above 0 keeps."""
DROP_BITS = 1
"""Random bits that every ratio below 1 drops."""
SECOND_NS = 1_000_000_000


class Dice(Random):
    """Trace ids with the random bits that a test asks for; span ids 1, 2, 3 …"""

    def __init__(self, bits: int = DROP_BITS) -> None:
        super().__init__()
        self.bits = bits
        self.traces = 0
        self.spans = 0
        self.seeded = 0

    def getrandbits(self, bits: int) -> int:
        if bits == 64:
            self.spans += 1
            return self.spans
        self.traces += 1
        return self.traces << 56 | self.bits

    def seed(self, *arguments: object) -> None:
        self.seeded = getattr(self, "seeded", 0) + 1


class World:
    """A provider, its tracer, its clock and its dice."""

    def __init__(
        self, *, sampling: Sampling | None = None, limits: Limits | None = None, **more: Any
    ) -> None:
        self.now = 5 * SECOND_NS
        self.step = 0
        """How much the wall clock was moved by hand."""
        self.dice = Dice()
        self.provider = TracerProvider(
            sampling=sampling,
            limits=limits,
            dice=self.dice,
            now_ns=lambda: self.now,
            wall_ns=lambda: WALL_START_NS + self.now + self.step,
            **{"exceptions": "shown", **more},
        )
        self.tracer = self.provider.get_tracer("tests", "1.2")
        self.lane = self.provider.lane

    def root(self, name: str = "root", **more: Any) -> Span:
        """A span without a parent."""
        return self.tracer.start_span(name, EMPTY, **more)

    def child(self, parent: api.Span, name: str = "child", **more: Any) -> Span:
        """A span under ``parent``."""
        return self.tracer.start_span(name, under(parent), **more)

    def pass_s(self, seconds: float) -> None:
        self.now += round(seconds * SECOND_NS)

    @property
    def segments(self) -> Any:
        return self.provider.statistics().segments

    @property
    def opened(self) -> int:
        """Segments that ever began."""
        now = self.segments
        return now.open + sum(now.kept.values()) + now.dropped + now.abandoned

    @property
    def recorded(self) -> int:
        """Spans that ever began."""
        now = self.segments
        return now.spans_open + now.spans_kept + now.spans_dropped + now.spans_abandoned

    def taken(self) -> list[Span]:
        return self.lane.take(1_000_000)


EMPTY = api.set_span_in_context(api.INVALID_SPAN)


def under(parent: api.Span) -> Any:
    """A context in which ``parent`` is current."""
    return api.set_span_in_context(parent)


def remote(trace_id: int, *, flags: int = 1, span_id: int = 77, state: TraceState | None = None) -> api.Span:
    """A parent in another process."""
    return NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(flags), state))
