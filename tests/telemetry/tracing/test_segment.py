"""Segments: recorded whole, judged when the local root ends, bounded, counted."""

import threading

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from opentelemetry.trace import Span as ApiSpan
from opentelemetry.trace import StatusCode, TraceFlags, TraceState

from seawall.telemetry.tracing.settings import Limits, Sampling
from seawall.telemetry.tracing.span import Span, Unrecorded
from tests.telemetry.tracing.world import DROP_BITS, KEEP_BITS, World, remote


def names(spans: list[Span]) -> list[str]:
    return [span.name for span in spans]


# -- reasons to keep -------------------------------------------------------------------------------


def test_nothing_is_offered_before_the_local_root_ends():
    world = World(sampling=Sampling(ratio=1.0))
    root = world.root()
    world.child(root).end()
    assert world.lane.waiting == 0
    root.end()
    assert names(world.taken()) == ["child", "root"]


def test_without_a_reason_a_segment_is_dropped_and_counted():
    world = World()
    root = world.root()
    world.child(root).end()
    root.end()
    assert world.taken() == []
    assert (world.segments.dropped, world.segments.spans_sampled_out) == (1, 2)


@pytest.mark.parametrize("failing", ["root", "child"])
def test_an_error_anywhere_keeps_the_whole_segment(failing):
    world = World()
    root = world.root()
    child = world.child(root)
    {"root": root, "child": child}[failing].set_status(StatusCode.ERROR)
    child.end()
    root.end()
    assert names(world.taken()) == ["child", "root"]
    assert world.segments.kept["error"] == 1


def test_an_error_that_turned_out_well_is_none():
    world = World()
    root = world.root()
    root.set_status(StatusCode.ERROR)
    root.set_status(StatusCode.OK)
    root.end()
    assert world.taken() == []


@pytest.mark.parametrize(("seconds", "kept"), [(1.499, False), (1.5, True), (60.0, True)])
def test_a_local_root_that_takes_a_second_and_a_half_is_slow(seconds, kept):
    world = World()
    root = world.root()
    world.pass_s(seconds)
    root.end()
    assert bool(world.taken()) is kept
    assert world.segments.kept["slow"] == kept


def test_slowness_is_measured_by_the_monotonic_clock():
    world = World()
    root = world.root()
    world.step += 3_600 * 10**9  # somebody sets the wall clock
    root.end()
    assert world.taken() == []


@pytest.mark.parametrize("event", ["breaker.opened", "circuit_breaker.state_changed"])
def test_a_breaker_event_keeps_the_whole_segment(event):
    world = World()
    root = world.root()
    child = world.child(root)
    child.add_event(event)
    child.end()
    root.end()
    assert len(world.taken()) == 2
    assert world.segments.kept["breaker"] == 1


def test_other_events_keep_nothing():
    world = World()
    root = world.root()
    root.add_event("cache.miss")
    root.end()
    assert world.taken() == []


@pytest.mark.parametrize(("bits", "kept"), [(KEEP_BITS, True), (DROP_BITS, False)])
def test_otherwise_the_random_bits_of_the_trace_id_decide(bits, kept):
    world = World()
    world.dice.bits = bits
    world.root().end()
    assert bool(world.taken()) is kept
    assert world.segments.kept["ratio"] == kept


def test_two_processes_with_one_ratio_keep_the_same_traces_and_a_stricter_one_a_part():
    ids = [number * 0x9E37_79B9_7F4A_7C15 + (1 << 100) for number in range(1, 400)]
    kept = []
    for ratio in (0.3, 0.3, 0.1):
        world = World(sampling=Sampling(ratio=ratio))
        for trace_id in ids:
            world.child(remote(trace_id)).end()
        kept.append({span.trace_id for span in world.taken()})
    assert kept[0] == kept[1]
    assert kept[2] < kept[0]
    assert 0.2 < len(kept[0]) / len(ids) < 0.4


def test_the_weightiest_reason_is_counted_and_only_that():
    world = World()
    root = world.root()
    root.add_event("breaker.opened")
    root.set_status(StatusCode.ERROR)
    world.pass_s(10)
    root.end()
    assert world.segments.kept == {"error": 1, "breaker": 0, "slow": 0, "head": 0, "ratio": 0}


# -- the head --------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("bits", [KEEP_BITS, DROP_BITS])
@pytest.mark.parametrize("failing", [True, False])
def test_the_head_flag_goes_on_as_it_came_whatever_the_verdict(flags, bits, failing):
    world = World()
    state = TraceState([("vendor", "value")])
    root = world.child(remote(5 << 56 | bits, flags=flags, state=state), "root")
    child = world.child(root)
    if failing:
        child.set_status(StatusCode.ERROR)
    before = child.context.trace_flags
    child.end()
    root.end()
    assert before == child.context.trace_flags == root.context.trace_flags == flags
    assert child.context.trace_state == state


@pytest.mark.parametrize(("bits", "sampled"), [(KEEP_BITS, 1), (DROP_BITS, 0)])
def test_where_a_trace_begins_the_head_flag_is_what_the_ratio_says(bits, sampled):
    world = World()
    world.dice.bits = bits
    root = world.root()
    root.set_status(StatusCode.ERROR)
    root.end()
    [kept] = world.taken()
    assert kept.context.trace_flags == sampled | TraceFlags.RANDOM_TRACE_ID


def test_a_sampled_head_keeps_nothing_unless_it_is_followed():
    for follow in (False, True):
        world = World(sampling=Sampling(follow_head=follow))
        world.child(remote(9 << 56 | DROP_BITS, flags=1)).end()
        world.child(remote(9 << 56 | DROP_BITS, flags=0)).end()
        assert world.segments.kept["head"] == len(world.taken()) == follow


# -- late spans ------------------------------------------------------------------------------------


def test_a_late_child_of_a_kept_segment_is_kept():
    world = World(sampling=Sampling(ratio=1.0))
    root = world.root()
    late = world.child(root, "late")
    root.end()
    assert names(world.taken()) == ["root"]
    late.end()
    assert names(world.taken()) == ["late"]
    assert late.parent == root.context
    assert world.segments.spans_late == 1


def test_a_late_child_of_a_dropped_segment_is_dropped_and_counted():
    world = World()
    root = world.root()
    late = world.child(root)
    root.end()
    late.end()
    assert world.taken() == []
    assert world.segments.spans_sampled_out == 2


@pytest.mark.parametrize("reason", ["error", "slow", "breaker"])
def test_a_late_child_that_is_worth_it_is_kept_alone(reason):
    world = World()
    root = world.root()
    late = world.child(root, "late")
    root.end()
    if reason == "error":
        late.set_status(StatusCode.ERROR)
    elif reason == "slow":
        world.pass_s(2)
    else:
        late.add_event("breaker.opened")
    late.end()
    [kept] = world.taken()
    assert kept is late
    assert kept.trace_id == root.trace_id


def test_what_is_found_late_keeps_what_ends_later_still():
    world = World()
    root = world.root()
    failing, last = world.child(root, "failing"), world.child(root, "last")
    root.end()
    failing.set_status(StatusCode.ERROR)
    failing.end()
    last.end()
    assert names(world.taken()) == ["failing", "last"]


def test_a_span_that_starts_under_a_finished_segment_is_the_root_of_a_new_one():
    world = World()
    root = world.root()
    root.end()
    task = world.child(root, "task")
    step = world.child(task, "step")
    step.set_status(StatusCode.ERROR)
    step.end()
    assert world.lane.waiting == 0
    task.end()
    assert names(world.taken()) == ["step", "task"]
    assert (task.trace_id, task.parent) == (root.trace_id, root.context)
    assert world.segments.opened == 2


def test_a_child_of_an_ended_span_joins_while_the_segment_is_open():
    world = World(sampling=Sampling(ratio=1.0))
    root = world.root()
    middle = world.child(root, "middle")
    middle.end()
    world.child(middle, "leaf").end()
    root.end()
    assert names(world.taken()) == ["middle", "leaf", "root"]


# -- bounds ----------------------------------------------------------------------------------------


def test_a_full_segment_records_no_more_and_hangs_what_follows_on_a_span_that_exists():
    world = World(sampling=Sampling(ratio=1.0), limits=Limits(segment_spans=2))
    root = world.root()
    child = world.child(root)
    extra = world.child(child, "extra")
    assert isinstance(extra, Unrecorded)
    assert isinstance(extra, ApiSpan)
    assert not extra.is_recording()
    assert extra.get_span_context() == child.context
    assert world.child(extra) is extra, "its children are no more recorded than it is"
    extra.end()
    child.end()
    root.end()
    assert names(world.taken()) == ["child", "root"]
    assert world.segments.spans_unrecorded == 2


def test_under_an_unrecorded_span_recording_begins_again_after_its_segment():
    world = World(sampling=Sampling(ratio=1.0), limits=Limits(segment_spans=1))
    root = world.root()
    extra = world.child(root, "extra")
    root.end()
    task = world.child(extra, "task")
    assert isinstance(task, Span)
    assert task.parent == root.context


def test_when_too_many_are_open_the_oldest_is_judged_with_what_it_has():
    world = World(limits=Limits(open_segments=2))
    leaked = world.root("leaked")
    failing = world.child(leaked, "failing")
    failing.set_status(StatusCode.ERROR)
    failing.end()
    world.root("second")
    world.root("third")
    assert names(world.taken()) == ["failing"]
    assert (world.segments.open, world.segments.evicted) == (2, 1)


def test_the_root_of_an_evicted_segment_is_late():
    world = World(limits=Limits(open_segments=1))
    stream = world.root("stream")
    world.root("other")
    world.pass_s(5)
    stream.end()
    assert names(world.taken()) == ["stream"]
    assert world.segments.spans_late == 1


def test_roots_that_never_end_do_not_stop_recording():
    world = World(limits=Limits(open_segments=3))
    for number in range(50):
        world.root(f"leak {number}")
    failing = world.root("failing")
    failing.set_status(StatusCode.ERROR)
    failing.end()
    assert names(world.taken()) == ["failing"]
    assert world.segments.open <= 3


# -- ids -------------------------------------------------------------------------------------------


def test_a_child_of_a_dropped_segment_never_draws_an_id_of_its_own():
    world = World()
    root = world.root()
    world.child(root).end()
    root.end()
    assert (world.dice.traces, world.dice.spans) == (1, 0)


def test_an_error_costs_no_id_before_it_is_exported():
    world = World()
    root = world.root()
    root.set_status(StatusCode.ERROR)
    root.end()
    assert world.dice.traces == 0
    [span] = world.taken()
    assert span.trace_id == span.trace_id == span.context.trace_id != 0
    assert span.span_id == span.span_id == span.context.span_id != 0


def test_ids_are_never_zero():
    world = World()
    world.provider.segments._bits = lambda bits: 0
    root = world.root()
    assert root.context.is_valid


def test_two_providers_do_not_mix_their_segments():
    ours, theirs = World(sampling=Sampling(ratio=1.0)), World(sampling=Sampling(ratio=1.0))
    root = theirs.root("theirs")
    child = ours.child(root, "ours")
    child.end()
    assert names(ours.taken()) == ["ours"]
    root.end()
    assert names(theirs.taken()) == ["theirs"]
    assert child.parent == root.context


def test_its_repr_shows_its_state():
    world = World()
    root = world.root()
    assert repr(root._segment) == "<Segment open, 1 spans, 0 of them finished>"
    assert repr(world.provider.segments) == "<Segments 1 of 4096 open, opened=1 evicted=0>"


def test_threads_lose_no_span():
    world = World(
        sampling=Sampling(ratio=1.0), limits=Limits(lane_spans=100_000, lane_reserve=0.0, open_segments=3)
    )

    def work() -> None:
        for _ in range(300):
            root = world.root()
            children = [world.child(root) for _ in range(4)]
            for child in children[:3]:
                child.end()
            root.end()
            children[3].end()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now = world.segments
    # a segment may be evicted between two children, which then start segments of their own: more of them, but
    # no span is lost
    assert now.spans_recorded == now.spans_offered == len(world.taken()) == 6 * 300 * 5
    assert now.opened == sum(now.kept.values())
    assert now.open == 0


# -- any order of everything -----------------------------------------------------------------------


class SegmentMachine(RuleBasedStateMachine):
    """Roots and children start, fail, take time and end in any order, while the lane is emptied."""

    @initialize(
        open_segments=st.integers(1, 4),
        segment_spans=st.integers(1, 5),
        lane_spans=st.integers(1, 12),
        ratio=st.sampled_from([0.0, 0.1, 1.0]),
    )
    def build(self, open_segments: int, segment_spans: int, lane_spans: int, ratio: float) -> None:
        self.limits = Limits(open_segments=open_segments, segment_spans=segment_spans, lane_spans=lane_spans)
        self.ratio = ratio
        self.world = World(sampling=Sampling(ratio=ratio), limits=self.limits)
        self.live: list[Span] = []
        self.seen: list[ApiSpan] = []
        self.started = 0
        self.exported: list[Span] = []
        self.failed: set[int] = set()

    def note(self, span: ApiSpan) -> None:
        self.seen.append(span)
        if isinstance(span, Span):
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
            span.end()
            after = self.world.lane.statistics()
            if id(span) in self.failed and (span._root or span._segment.owner is None):
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
        assert now.open <= self.limits.open_segments
        assert self.world.lane.waiting <= self.limits.lane_spans

    @invariant()
    def every_span_and_segment_is_accounted_for(self) -> None:
        now, lane = self.world.segments, self.world.lane.statistics()
        waiting = sum(len(segment.spans) for segment in self.world.provider.segments._open)
        assert now.spans_recorded == self.started
        settled = now.spans_offered + now.spans_sampled_out + now.spans_abandoned
        assert self.started == len(self.live) + waiting + settled
        assert now.opened == now.open + sum(now.kept.values()) + now.dropped + now.abandoned
        assert now.spans_offered == lane.offered == lane.accepted + sum(lane.dropped.values())
        if self.ratio == 1.0:
            assert now.dropped == now.spans_sampled_out == 0

    @invariant()
    def nothing_is_exported_twice_or_unfinished(self) -> None:
        assert len({id(span) for span in self.exported}) == len(self.exported)
        assert all(span.ended_ns is not None for span in self.exported)


TestSegmentMachine = SegmentMachine.TestCase
TestSegmentMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
