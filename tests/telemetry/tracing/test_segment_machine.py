"""Segments in any order of everything: bounds hold, and every span is accounted for."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from opentelemetry.trace import StatusCode

from seawall.telemetry.tracing.segment import State
from seawall.telemetry.tracing.settings import Limits, Sampling
from seawall.telemetry.tracing.span import Span
from tests.telemetry.tracing.world import DROP_BITS, KEEP_BITS, World


class SegmentMachine(RuleBasedStateMachine):
    """Roots and children start, fail, take time and end in any order, while the lane is emptied."""

    @initialize(
        open_spans=st.integers(1, 8),
        segment_spans=st.integers(1, 5),
        more_lane_spans=st.integers(0, 9),
        ratio=st.sampled_from([0.0, 0.1, 1.0]),
    )
    def build(self, open_spans: int, segment_spans: int, more_lane_spans: int, ratio: float) -> None:
        self.limits = Limits(
            open_spans=open_spans,
            segment_spans=segment_spans,
            lane_spans=segment_spans + more_lane_spans,
        )
        self.ratio = ratio
        self.world = World(sampling=Sampling(ratio=ratio), limits=self.limits)
        self.live: list[Span] = []
        self.seen: list[Span] = []
        self.started = self.kept_alone = 0
        self.exported: list[Span] = []
        self.failed: set[int] = set()

    def note(self, span: Span) -> None:
        self.seen.append(span)
        self.started += 1
        self.live.append(span)

    @rule(bits=st.sampled_from([KEEP_BITS, DROP_BITS]))
    def start_root(self, bits: int) -> None:
        self.world.dice.bits = bits
        self.note(self.world.root())

    @rule(data=st.data())
    def start_child(self, data: st.DataObject) -> None:
        if self.seen:
            self.note(self.world.child(data.draw(st.sampled_from(self.seen))))

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        if self.live:
            span = data.draw(st.sampled_from(self.live))
            span.set_status(StatusCode.ERROR)
            self.failed.add(id(span))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        if self.live:
            span = data.draw(st.sampled_from(self.live))
            self.live.remove(span)
            before = self.world.lane.statistics()
            alone = span._segment is None
            span.end()
            after = self.world.lane.statistics()
            self.kept_alone += alone and after.offered > before.offered
            of_open = span._segment is not None and span._segment.owner is not None
            if id(span) in self.failed and not of_open:
                assert after.offered > before.offered, "an error is always offered, late or not"

    @rule(data=st.data())
    def end_again(self, data: st.DataObject) -> None:
        if self.seen:
            span = data.draw(st.sampled_from(self.seen))
            if span not in self.live:
                before = self.world.lane.statistics()
                span.end()
                assert self.world.lane.statistics() == before

    @rule(seconds=st.sampled_from([0.1, 2.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_s(seconds)

    @rule(limit=st.integers(0, 10))
    def export(self, limit: int) -> None:
        self.exported += self.world.lane.take(limit)

    @invariant()
    def holds_its_bounds(self) -> None:
        now = self.world.segments
        assert now.open <= now.spans_open <= self.limits.open_spans
        assert self.world.lane.waiting <= self.limits.lane_spans

    @invariant()
    def every_span_and_segment_is_accounted_for(self) -> None:
        now, lane = self.world.segments, self.world.lane.statistics()
        alone = [span for span in self.live if span._segment is None]
        assert self.world.recorded == self.started - len(alone)
        still_open = self.world.provider.segments._open
        assert now.spans_open == sum(segment.started for segment in still_open)
        ended = [span for span in self.seen if span.ended_ns is not None]
        of_kept = [span for span in ended if span._segment and span._segment.state is State.KEPT]
        assert lane.offered == len(of_kept) + self.kept_alone + now.spans_rescued
        assert lane.offered == lane.accepted + sum(lane.dropped.values())
        waiting = [span for segment in still_open for span in segment.spans or ()]
        of_open = {span for span in ended if span._segment and span._segment.state is State.OPEN}
        assert {*waiting} == of_open
        if self.ratio == 1.0:
            assert now.dropped == now.spans_dropped == 0

    @invariant()
    def nothing_is_exported_twice_or_unfinished(self) -> None:
        assert len({id(span) for span in self.exported}) == len(self.exported)
        assert all(span.ended_ns is not None for span in self.exported)


TestSegmentMachine = SegmentMachine.TestCase
TestSegmentMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
