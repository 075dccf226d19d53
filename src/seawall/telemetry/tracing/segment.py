"""Segments: the part of a trace that runs in this process, judged when its local root ends.

The theory. Whether a trace is worth keeping is known when it is over, not when it begins; and recording a
span is cheap, exporting it is not. So every local segment (a local root and its local children) is recorded,
and judged once::

    state      event                            next       what happens to its finished spans
    ---------  -------------------------------  ---------  ------------------------------------------
    open       a child starts                   open
    open       a child ends                     open       it waits in the segment
    open       the local root ends              kept       offered to the lane, whole
    open       the local root ends              dropped    forgotten
    open       evicted (too many are open)      either     as if the root had ended, without its slowness
    open       this process is a forked child   abandoned  forgotten: the parent has them too
    kept       a late child ends                kept       offered alone
    dropped    a late child ends                dropped    offered alone if it is worth it itself
    abandoned  a late child ends                abandoned  forgotten

``kept`` needs one reason: a span that failed, a breaker event, a slow local root, a head that is followed, or
the ratio, which looks at the random bits of the trace id and so says the same in every process.

A *late* child has started before the local root ended and ends after it. What is found late (an error, a
breaker event) also keeps what ends later still. A span that *starts* under a finished segment is the local
root of a new one in the same trace: a task that outlives its request is judged on its own.

The head flag that goes out with a trace is the ratio's answer where the trace begins here, and whatever came
in where it doesn't. No verdict changes it.

It is no sampler in the sense of OpenTelemetry, which has to answer before anything has happened. Tracers
begin segments, spans end in them. No lock: each step that must not be split is a stretch of attribute
accesses without a call, see ``lane``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol, final

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from seawall.telemetry.tracing.ids import Dice
from seawall.telemetry.tracing.lane import Lane
from seawall.telemetry.tracing.settings import RANDOM_BITS, Limits, Sampling

__all__ = ["Segment", "SegmentStatistics", "Segments", "State"]

FAILED: Final = 1
BREAKER: Final = 2
SLOW: Final = 4
HEAD: Final = 8
RATIO: Final = 16

WALL_CLOCK_READ_NS: Final = 1_000_000_000
"""A step of the wall clock is noticed after so long; the monotonic clock counts meanwhile."""

_REASONS: Final = ((FAILED, "error"), (BREAKER, "breaker"), (SLOW, "slow"), (HEAD, "head"), (RATIO, "ratio"))
"""Why a segment is kept, the weightiest first; it is counted under that one."""

_RANDOM: Final = (1 << RANDOM_BITS) - 1
_SAMPLED_FLAG: Final = int(TraceFlags.SAMPLED)
_RANDOM_FLAG: Final = int(TraceFlags.RANDOM_TRACE_ID)
_KNOWN_FLAGS: Final = _SAMPLED_FLAG | _RANDOM_FLAG


class State(IntEnum):
    """Where a segment is; the table is in the module's docstring."""

    OPEN = 0
    KEPT = 1
    DROPPED = 2
    ABANDONED = 3


# A member of an enumeration costs a look-up in its class; segments come and go with every request.
_OPEN: Final = State.OPEN
_KEPT: Final = State.KEPT
_DROPPED: Final = State.DROPPED


class Member(Protocol):
    """What a segment knows of a span: when it ran, by the monotonic clock."""

    began_ns: int
    ended_ns: int | None


_NO_SPANS: Final[list[Member]] = []
"""What a segment holds that is judged: nobody adds to it, for it has no owner."""


@final
class Segment:
    """One local root and its local children. :meth:`Segments.begin` makes it.

    Attributes:
        owner: Who judges it; ``None`` once that is done.
        state: Where it is.
        reasons: Bits that speak for keeping it.
        spans: Its finished children, while it is open.
        started: How many spans it has had.
        offset_ns: Wall clock minus monotonic clock when it began; all its times are of the one clock.
        trace_id: Of all its spans; 0 until somebody asks.
        flags: Trace flags that go out with it; they mean something once there is a trace id.
        trace_state: What came in with a remote parent.
    """

    __slots__ = (
        "flags",
        "offset_ns",
        "owner",
        "reasons",
        "spans",
        "started",
        "state",
        "trace_id",
        "trace_state",
    )

    owner: Segments | None
    state: State
    reasons: int
    spans: list[Member]
    started: int
    offset_ns: int
    trace_id: int
    flags: int
    trace_state: TraceState | None

    def __repr__(self) -> str:
        return (
            f"<Segment {self.state.name.lower()}, {self.started} spans, {len(self.spans)} of them finished>"
        )


@dataclass(frozen=True, slots=True)
class SegmentStatistics:
    """One moment of all segments of a provider. Counts are since its birth.

    ``opened == open + sum(kept) + dropped + abandoned`` and, with the spans that have not ended,
    ``spans_recorded == live + spans_offered + spans_sampled_out + spans_abandoned``.

    Attributes:
        limit: Most segments open at once.
        open: Whose local root has not ended.
        opened: All that have begun.
        kept: All that were kept, by reason.
        dropped: All that nothing spoke for.
        abandoned: Open ones that a fork left in the child.
        evicted: Those judged early because too many were open.
        spans_recorded: Spans that were started and recorded.
        spans_unrecorded: Spans that were not, because their segment was full.
        spans_offered: Spans offered to the lane.
        spans_late: Spans that ended after their segment, whatever became of them.
        spans_sampled_out: Spans that were recorded and not kept.
        spans_abandoned: Spans of abandoned segments.
        after_end: Operations on ended spans, which do nothing.
        detached_elsewhere: Spans whose ``with`` block was left in another context than it was entered in.
        failed: Calls with arguments that could not be used.
        plugin_errors: Exceptions raised by samplers and span processors.
    """

    limit: int
    open: int
    opened: int
    kept: dict[str, int]
    dropped: int
    abandoned: int
    evicted: int
    spans_recorded: int
    spans_unrecorded: int
    spans_offered: int
    spans_late: int
    spans_sampled_out: int
    spans_abandoned: int
    after_end: int
    detached_elsewhere: int
    failed: int
    plugin_errors: int


@final
class Segments:
    """All segments of one provider: it begins them, judges them and counts.

    Args:
        lane: Where the spans of kept segments go.
        sampling: How segments are judged.
        limits: What is bounded.
        dice: Where ids come from.
        wall_ns: Nanoseconds since 1970, read again for the first segment of each second.

    Attributes:
        by_ratio: Whether the ratio is asked; a sampler that is plugged in takes its place.
    """

    __slots__ = (
        "_abandoned",
        "_bits",
        "_dropped",
        "_evicted",
        "_follow_head",
        "_kept",
        "_offset_ns",
        "_open",
        "_open_max",
        "_opened",
        "_read_again_ns",
        "_slow_ns",
        "_spans_abandoned",
        "_spans_late",
        "_spans_offered",
        "_spans_recorded",
        "_spans_sampled_out",
        "_threshold",
        "_wall_ns",
        "after_end",
        "breaker_events",
        "by_ratio",
        "detached_elsewhere",
        "failed",
        "lane",
        "plugin_errors",
        "unrecorded",
    )

    def __init__(
        self,
        lane: Lane[Any],
        *,
        sampling: Sampling,
        limits: Limits,
        dice: Dice,
        wall_ns: Callable[[], int],
    ) -> None:
        self.lane = lane
        self.breaker_events = sampling.breaker_events
        self.by_ratio = True
        self._threshold = sampling.threshold
        self._slow_ns = sampling.slow_s * 1e9
        self._follow_head = sampling.follow_head
        self._open_max = limits.open_segments
        self._open: dict[Segment, None] = {}
        self._bits = dice.getrandbits
        self._wall_ns = wall_ns
        self._offset_ns = 0
        self._read_again_ns: float = -math.inf
        self._opened = self._dropped = self._abandoned = self._evicted = 0
        self._kept: dict[int, int] = {reason: 0 for reason, _ in _REASONS}
        self._spans_recorded = self._spans_offered = self._spans_late = 0
        self._spans_sampled_out = self._spans_abandoned = 0
        self.unrecorded = self.after_end = self.detached_elsewhere = self.failed = self.plugin_errors = 0

    def begin(self, remote: SpanContext | None, now_ns: int) -> Segment:
        """Open a segment for a local root.

        Args:
            remote: The parent that is not of an open segment here, if there is a valid one.
            now_ns: The monotonic clock.

        Returns:
            A segment with one span.
        """
        segment = object.__new__(Segment)
        segment.owner = self
        segment.state = _OPEN
        segment.spans = []
        segment.started = 1
        if now_ns >= self._read_again_ns:
            self._offset_ns = self._wall_ns() - now_ns
            self._read_again_ns = now_ns + WALL_CLOCK_READ_NS
        segment.offset_ns = self._offset_ns
        if remote is None:
            segment.trace_id = segment.flags = segment.reasons = 0
            segment.trace_state = None
        else:
            segment.trace_id = remote.trace_id
            segment.flags = flags = remote.trace_flags & _KNOWN_FLAGS
            segment.trace_state = remote.trace_state
            segment.reasons = HEAD if self._follow_head and flags & _SAMPLED_FLAG else 0
        open_segments = self._open
        if len(open_segments) >= self._open_max:
            self._evict()
        open_segments[segment] = None
        self._opened += 1
        return segment

    def identify(self, segment: Segment) -> int:
        """The trace id of a segment, drawn if need be, and with it the head flag."""
        if segment.trace_id == 0:
            drawn = self._bits(128) or 1  # all zeros is no trace id
            flags = _RANDOM_FLAG | (_SAMPLED_FLAG if drawn & _RANDOM >= self._threshold else 0)
            if segment.trace_id == 0:  # another thread may have drawn during the call
                segment.flags = flags
                segment.trace_id = drawn
        return segment.trace_id

    def draw_trace_id(self) -> int:
        """A new trace id."""
        return self._bits(128) or 1  # all zeros is no trace id

    def draw_span_id(self) -> int:
        """A new span id."""
        return self._bits(64) or 1  # all zeros is no span id

    def close(self, segment: Segment, root: Member | None) -> None:
        """The local root has ended, or the segment is evicted: judge it.

        Args:
            segment: Which.
            root: Its local root, ended; ``None`` if the segment is evicted.
        """
        # from the first line to the third no other thread can run, so that one only judges
        owner = segment.owner
        segment.owner = None
        if owner is None:
            if root is not None:
                self.late(segment, root, failed=bool(segment.reasons & FAILED))
            return
        del self._open[segment]
        spans = segment.spans
        segment.spans = _NO_SPANS
        reasons = segment.reasons
        if root is None:
            self._evicted += 1
        else:
            spans.append(root)
            if root.ended_ns - root.began_ns >= self._slow_ns:  # type: ignore[operator]  # it has ended
                reasons |= SLOW
        if reasons == 0 and self.by_ratio:
            trace_id = segment.trace_id
            if trace_id == 0:
                self.identify(segment)
                if segment.flags & _SAMPLED_FLAG:  # the same question, just answered
                    reasons = RATIO
            elif trace_id & _RANDOM >= self._threshold:
                reasons = RATIO
        self._spans_recorded += segment.started
        if reasons == 0:
            segment.state = _DROPPED
            self._dropped += 1
            self._spans_sampled_out += len(spans)
            return
        segment.state = _KEPT
        self._kept[reasons & -reasons] += 1  # the lowest bit, the weightiest reason
        self._spans_offered += len(spans)
        self.lane.offer(spans, urgent=reasons & FAILED != 0)

    def _evict(self) -> None:
        open_segments = self._open
        while len(open_segments) >= self._open_max:
            try:
                segment = next(iter(open_segments))
            except (RuntimeError, StopIteration):
                continue  # another thread has changed the table between the two steps
            if segment.owner is None:
                return  # another thread is closing it, and makes room
            self.close(segment, None)

    def late(self, segment: Segment, span: Member, *, failed: bool) -> None:
        """A span has ended after its segment.

        Args:
            segment: Which.
            span: The span, ended.
            failed: Whether its status is an error.
        """
        self._spans_late += 1
        took = span.ended_ns - span.began_ns  # type: ignore[operator]  # it has ended
        if segment.state is State.ABANDONED:
            self._spans_abandoned += 1
        elif segment.state is State.KEPT or segment.reasons or took >= self._slow_ns:
            self._spans_offered += 1
            self.lane.offer((span,), urgent=failed)
        else:
            self._spans_sampled_out += 1

    def settle_ids(self) -> None:
        """Draw the trace id of every open segment: after a fork both processes must know them by one name."""
        for segment in list(self._open):
            self.identify(segment)

    def abandon(self) -> None:
        """Leave every open segment to the parent, which this process has been forked from."""
        for segment in list(self._open):
            segment.owner = None
            segment.state = State.ABANDONED
            self._abandoned += 1
            self._spans_recorded += segment.started
            self._spans_abandoned += len(segment.spans)
            segment.spans = _NO_SPANS
        self._open.clear()

    def statistics(self) -> SegmentStatistics:
        """Counters; of one moment only while no other thread works."""
        still_open = list(self._open)
        return SegmentStatistics(
            limit=self._open_max,
            open=len(still_open),
            opened=self._opened,
            kept={name: self._kept[reason] for reason, name in _REASONS},
            dropped=self._dropped,
            abandoned=self._abandoned,
            evicted=self._evicted,
            spans_recorded=self._spans_recorded + sum(segment.started for segment in still_open),
            spans_unrecorded=self.unrecorded,
            # finished spans wait in their segment until it is judged: they are live in this sum
            spans_offered=self._spans_offered,
            spans_late=self._spans_late,
            spans_sampled_out=self._spans_sampled_out,
            spans_abandoned=self._spans_abandoned,
            after_end=self.after_end,
            detached_elsewhere=self.detached_elsewhere,
            failed=self.failed,
            plugin_errors=self.plugin_errors,
        )

    def __repr__(self) -> str:
        return (
            f"<Segments {len(self._open)} of {self._open_max} open,"
            f" opened={self._opened} evicted={self._evicted}>"
        )
