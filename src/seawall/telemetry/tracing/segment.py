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
    open       evicted (too many spans are      either     as if the root had ended, without its slowness
               open, in it or in all)
    open       this process is a forked child   abandoned  forgotten: the parent has them too
    kept       a late child ends                kept       offered alone
    dropped    a late child ends                dropped    offered alone if it is worth it itself
    abandoned  a late child ends                abandoned  forgotten

A local root that has no child and that nobody has asked who it is stands *alone*: it has no segment and is in
no table, and is judged by itself when it ends. It gets a segment when one of the two happens.

``kept`` needs one reason: a span that failed, a breaker event, a slow local root, or the ratio, which looks
at the random bits of the trace id and so says the same in every process.

A *late* span has started before its segment was judged and ends after it. What is found late (an error, a
breaker event) also keeps what ends later still. A span that *starts* under a judged segment is the local root
of a new one in the same trace: a task that outlives its request is judged on its own, and so is what runs
under a root that never ends. Evicting loses no error therefore, and what the spans of a process may hold is
bounded by one number.

The head flag that goes out with a trace is the ratio's answer where the trace begins here, and whatever came
in where it doesn't. No verdict changes it.

It is no sampler in the sense of OpenTelemetry, which has to answer before anything has happened. Tracers
begin segments, spans end in them. No lock: each step that must not be split is a stretch of attribute
accesses without a call, see ``lane``.
"""

# ruff: noqa: SLF001 -- a span and its segment are two halves of one thing

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol, final

from opentelemetry.trace import SpanContext, TraceState

from seawall.telemetry.tracing.lane import Lane
from seawall.telemetry.tracing.settings import RANDOM_BITS, Limits, Sampling
from seawall.telemetry.tracing.span_context import KNOWN_FLAGS, RANDOM_FLAG

__all__ = ["Segment", "SegmentStatistics", "Segments", "State"]

FAILED: Final = 1
BREAKER: Final = 2
SLOW: Final = 4
RATIO: Final = 8

WALL_CLOCK_READ_NS: Final = 1_000_000_000
"""A step of the wall clock is noticed after so long; the monotonic clock counts meanwhile."""

_REASONS: Final = ((FAILED, "error"), (BREAKER, "breaker"), (SLOW, "slow"), (RATIO, "ratio"))
"""Why a segment is kept, the weightiest first; it is counted under that one."""

_RANDOM: Final = (1 << RANDOM_BITS) - 1
_NEVER_S: Final = 1e9
_LONG_AGO_NS: Final = -(1 << 63)


class State(IntEnum):
    """Where a segment is; the table is in the module's docstring."""

    OPEN = 0
    KEPT = 1
    DROPPED = 2
    ABANDONED = 3


# A member of an enumeration costs a look-up in its class; segments come and go with every request.
_KEPT: Final = State.KEPT
_DROPPED: Final = State.DROPPED
_ABANDONED: Final = State.ABANDONED


class Member(Protocol):
    """What a segment knows of a span: when it ran, by the monotonic clock."""

    began_ns: int
    ended_ns: int | None


class Root(Member, Protocol):
    """What is known of a local root besides.

    Attributes:
        _segment: Its segment; ``None`` if it stands alone.
        _parent: The remote parent, if it has one.
        _trace_id: Set when it ends alone.
    """

    _segment: Segment | None
    _parent: Any
    _trace_id: int


@final
class Segment:
    """One local root and its local children. :meth:`Segments.open` makes it.

    Attributes:
        owner: Who judges it; ``None`` once that is done.
        verdict: Where it is then; not set before.
        reasons: Bits that speak for keeping it.
        spans: Its finished children, while it is open; ``None`` if there are none.
        started: How many spans it has had.
        trace_id: Of all its spans.
        remote: The parent of its local root, if it has one.
    """

    __slots__ = ("owner", "reasons", "remote", "spans", "started", "trace_id", "verdict")

    owner: Segments | None
    verdict: State
    reasons: int
    spans: list[Member] | None
    started: int
    trace_id: int
    remote: SpanContext | None

    @property
    def state(self) -> State:
        """Where it is."""
        return State.OPEN if self.owner is not None else self.verdict

    @property
    def flags(self) -> int:
        """Trace flags that go out with it: as they came in, or by the ratio if the trace begins here."""
        if self.remote is not None:
            return self.remote.trace_flags & KNOWN_FLAGS
        return KNOWN_FLAGS if self.reasons & RATIO else RANDOM_FLAG

    @property
    def trace_state(self) -> TraceState | None:
        """What other tracing systems want to find again."""
        return None if self.remote is None else self.remote.trace_state

    def __repr__(self) -> str:
        return f"<Segment {self.state.name.lower()}, {self.started} spans>"


@dataclass(frozen=True, slots=True)
class SegmentStatistics:
    """One moment of all segments of a provider. Counts are since its birth.

    The segments that ever began are ``open + sum(kept) + dropped + abandoned``, and their spans
    ``spans_open + spans_kept + spans_dropped + spans_abandoned``, whether they have ended or not.

    Spans that stand alone are counted when they end or get a segment.

    Attributes:
        open: Segments whose local root has not ended.
        kept: Those that were kept, by reason.
        dropped: Those that nothing spoke for.
        abandoned: Open ones that a fork left in the child.
        evicted: Those judged early because too many spans were open, in it or in all.
        spans_limit: Most spans of all open segments.
        spans_open: How many there are.
        spans_kept: Spans of kept segments: offered to the lane, once they have ended.
        spans_dropped: Spans of dropped segments.
        spans_abandoned: Spans of abandoned segments.
        spans_late: Spans that ended after their segment.
        spans_rescued: Those of them that were worth it themselves: of a dropped segment, and offered.
        after_end: Operations on ended spans, which do nothing.
        detached_elsewhere: Spans whose ``with`` block was left in another context than it was entered in.
        failed: Calls with arguments that could not be used.
        processor_errors: Exceptions raised by span processors.
    """

    open: int
    kept: dict[str, int]
    dropped: int
    abandoned: int
    evicted: int
    spans_limit: int
    spans_open: int
    spans_kept: int
    spans_dropped: int
    spans_abandoned: int
    spans_late: int
    spans_rescued: int
    after_end: int
    detached_elsewhere: int
    failed: int
    processor_errors: int


@final
class Segments:
    """All segments of one provider: it begins them, judges them and counts.

    Args:
        lane: Where the spans of kept segments go.
        sampling: How segments are judged.
        limits: What is bounded.
        random_bits: Where ids come from: gives a whole number of so many random bits.
        wall_ns: Nanoseconds since 1970.

    Attributes:
        spans_open: Spans of all open segments, ended or not.
        spans_open_max: How many they may be.
        segment_spans_max: How many one segment may have.
        offset_ns: Wall clock minus monotonic clock.
        read_again_ns: When the clocks have to be compared again.
        random_bits: As given.
        breaker_events: How the names of breaker events begin.
    """

    __slots__ = (
        "_abandoned",
        "_dropped",
        "_evicted",
        "_forked_ns",
        "_kept",
        "_kept_alone",
        "_open",
        "_slow_ns",
        "_spans_abandoned",
        "_spans_dropped",
        "_spans_kept",
        "_spans_late",
        "_spans_rescued",
        "_threshold",
        "_wall_ns",
        "after_end",
        "breaker_events",
        "detached_elsewhere",
        "failed",
        "lane",
        "offset_ns",
        "processor_errors",
        "random_bits",
        "read_again_ns",
        "segment_spans_max",
        "spans_open",
        "spans_open_max",
    )

    def __init__(
        self,
        lane: Lane[Any],
        *,
        sampling: Sampling,
        limits: Limits,
        random_bits: Callable[[int], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self.lane = lane
        self.breaker_events = sampling.breaker_events
        self._threshold = sampling.threshold
        # whole, for a whole number is slow to compare with a float
        self._slow_ns = round(min(sampling.slow_s, _NEVER_S) * 1e9)
        self.spans_open_max = limits.open_spans
        self.segment_spans_max = limits.segment_spans
        self._open: dict[Segment, None] = {}
        self.random_bits = random_bits
        self._wall_ns = wall_ns
        self.offset_ns = 0
        self.read_again_ns = _LONG_AGO_NS
        self._forked_ns: int | None = None
        self._dropped = self._abandoned = self._evicted = 0
        self._kept: dict[int, int] = {reason: 0 for reason, _ in _REASONS}
        # of one span each, so that those need no second count
        self._kept_alone = self._kept.copy()
        self.spans_open = self._spans_kept = self._spans_dropped = self._spans_abandoned = 0
        self._spans_late = self._spans_rescued = 0
        self.after_end = self.detached_elsewhere = self.failed = self.processor_errors = 0

    def read_wall_clock(self, now_ns: int) -> None:
        """Compare the clocks again; once a second is enough.

        Args:
            now_ns: The monotonic clock.
        """
        self.offset_ns = self._wall_ns() - now_ns
        self.read_again_ns = now_ns + WALL_CLOCK_READ_NS

    def open(self, root: Root) -> Segment:
        """The segment of a local root that stood alone.

        Args:
            root: Which; ended or not. Its segment is set.
        """
        segment = Segment()
        segment.spans = None
        segment.started = 1
        segment.remote = parent = root._parent
        trace_id = 0
        if parent is not None:
            trace_id = parent.trace_id
        elif root.ended_ns is None:
            trace_id = self.random_bits(128) or 1  # all zeros is no trace id
        if self.spans_open >= self.spans_open_max:
            self._make_room()
        # no call from here on, and so no other thread
        if root._segment is not None:
            return root._segment
        if root.ended_ns is not None:
            trace_id = root._trace_id
            segment.owner = None
            segment.verdict = _DROPPED  # it was judged without; nobody is late for it
        elif self._forked_ns is not None and root.began_ns < self._forked_ns:
            segment.owner = None
            segment.verdict = _ABANDONED
            self._abandoned += 1
            self._spans_abandoned += 1
        else:
            segment.owner = self
            self._open[segment] = None
            self.spans_open += 1
        segment.trace_id = trace_id
        segment.reasons = RATIO if trace_id & _RANDOM >= self._threshold else 0
        root._segment = segment
        return segment

    def close_alone(
        self,
        root: Root,
        random: int,
        took_ns: int,
        failed: bool,  # noqa: FBT001  # on the path of every span, where a keyword costs
    ) -> None:
        """A local root that stands alone has ended: judge it.

        Args:
            root: Which; its trace id is set.
            random: The trace id; its random bits count.
            took_ns: How long it ran.
            failed: Whether its status is an error.
        """
        if failed:
            reason = FAILED
        elif took_ns >= self._slow_ns:
            reason = SLOW
        elif random & _RANDOM >= self._threshold:
            reason = RATIO
        else:
            self._dropped += 1
            self._spans_dropped += 1
            return
        if self._forked_ns is not None and root.began_ns < self._forked_ns:
            self._abandoned += 1
            self._spans_abandoned += 1
            return
        self._kept_alone[reason] += 1
        self.lane.put(root, failed)

    def relieve(self, segment: Segment) -> bool:
        """There is no room for one more span of an open segment: make some.

        Returns:
            Whether the segment is still open; if not, the span begins another one.
        """
        if segment.started >= self.segment_spans_max:
            self.close(segment, None)
        else:
            self._make_room()
        return segment.owner is self

    def _make_room(self) -> None:
        while self.spans_open >= self.spans_open_max:
            try:
                oldest = next(iter(self._open), None)
            except RuntimeError:
                continue  # another thread has changed the table between the two steps
            if oldest is None:
                return
            self.close(oldest, None)

    def close(self, segment: Segment, root: Member | None) -> None:
        """The local root has ended, or the segment is evicted: judge it.

        Args:
            segment: Which.
            root: Its local root, ended; ``None`` if the segment is evicted.
        """
        # no call from here to the verdict, and so no other thread: one only judges, and whoever is late finds
        # the verdict
        if segment.owner is None:
            if root is not None:
                self.late(segment, root, failed=segment.reasons & FAILED != 0)
            return
        segment.owner = None
        del self._open[segment]
        started = segment.started
        self.spans_open -= started
        reasons = segment.reasons
        if root is None:
            self._evicted += 1
        elif root.ended_ns - root.began_ns >= self._slow_ns:  # type: ignore[operator]  # it has ended
            reasons |= SLOW
        spans = segment.spans
        segment.spans = None
        if reasons == 0:
            segment.verdict = _DROPPED
            self._dropped += 1
            self._spans_dropped += started
            return
        segment.verdict = _KEPT
        self._kept[reasons & -reasons] += 1  # the lowest bit, the weightiest reason
        self._spans_kept += started
        urgent = reasons & FAILED != 0
        if spans is None:
            if root is not None:
                self.lane.offer((root,), urgent=urgent)
            return
        if root is not None:
            spans.append(root)
        self.lane.offer(spans, urgent=urgent)

    def hold_first(self, segment: Segment, span: Member, *, failed: bool) -> None:
        """The first child of a segment has ended, of which there may be more at once, or a late one.

        Args:
            segment: Which.
            span: The child, ended.
            failed: Whether its status is an error.
        """
        # whatever is made may set off the garbage collector, and with it other threads: so before the tests
        alone = [span]
        if segment.owner is None:
            self.late(segment, span, failed=failed)
        elif segment.spans is None:
            segment.spans = alone
        else:
            segment.spans.append(span)

    def late(self, segment: Segment, span: Member, *, failed: bool) -> None:
        """A span has ended after its segment.

        Args:
            segment: Which.
            span: The span, ended.
            failed: Whether its status is an error.
        """
        self._spans_late += 1
        took = span.ended_ns - span.began_ns  # type: ignore[operator]  # it has ended
        if segment.verdict is _KEPT:
            self.lane.offer((span,), urgent=failed)
        elif segment.verdict is _DROPPED and (segment.reasons or took >= self._slow_ns):
            self._spans_rescued += 1
            self.lane.offer((span,), urgent=failed)

    def abandon(self, now_ns: int) -> None:
        """Leave all that is open to the parent, which this process has been forked from.

        Args:
            now_ns: The monotonic clock.
        """
        self._forked_ns = now_ns
        for segment in list(self._open):
            segment.owner = None
            segment.verdict = _ABANDONED
            segment.spans = None
            self._abandoned += 1
            self._spans_abandoned += segment.started
        self._open.clear()
        self.spans_open = 0

    def statistics(self) -> SegmentStatistics:
        """Counters; of one moment only while no other thread works."""
        return SegmentStatistics(
            open=len(self._open),
            kept={name: self._kept[reason] + self._kept_alone[reason] for reason, name in _REASONS},
            dropped=self._dropped,
            abandoned=self._abandoned,
            evicted=self._evicted,
            spans_limit=self.spans_open_max,
            spans_open=self.spans_open,
            spans_kept=self._spans_kept + sum(self._kept_alone.values()),
            spans_dropped=self._spans_dropped,
            spans_abandoned=self._spans_abandoned,
            spans_late=self._spans_late,
            spans_rescued=self._spans_rescued,
            after_end=self.after_end,
            detached_elsewhere=self.detached_elsewhere,
            failed=self.failed,
            processor_errors=self.processor_errors,
        )

    def __repr__(self) -> str:
        return (
            f"<Segments {len(self._open)} open with {self.spans_open} of {self.spans_open_max} spans,"
            f" evicted={self._evicted}>"
        )
