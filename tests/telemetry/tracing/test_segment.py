"""Segments: recorded whole, judged when the local root ends, bounded, counted."""

import threading

import pytest
from opentelemetry.trace import StatusCode, TraceFlags, TraceState

from seawall.telemetry.tracing.settings import Limits, Sampling
from seawall.telemetry.tracing.span import Span
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
    assert (world.segments.dropped, world.segments.spans_dropped) == (1, 2)


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
    assert world.segments.kept == {"error": 1, "breaker": 0, "slow": 0, "ratio": 0}


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


def test_a_sampled_head_keeps_nothing():
    world = World()
    world.child(remote(9 << 56 | DROP_BITS, flags=1)).end()
    assert world.taken() == []


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
    assert (world.segments.spans_dropped, world.segments.spans_late) == (2, 1)


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
    assert world.segments.spans_rescued == 1


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
    assert world.opened == 2


def test_a_child_of_an_ended_span_joins_while_the_segment_is_open():
    world = World(sampling=Sampling(ratio=1.0))
    root = world.root()
    middle = world.child(root, "middle")
    middle.end()
    world.child(middle, "leaf").end()
    root.end()
    assert names(world.taken()) == ["middle", "leaf", "root"]


# -- bounds ----------------------------------------------------------------------------------------


def test_a_full_segment_is_judged_early_and_what_starts_afterwards_on_its_own():
    world = World(sampling=Sampling(ratio=1.0), limits=Limits(segment_spans=2))
    root = world.root()
    child = world.child(root)
    child.end()
    assert world.lane.waiting == 0
    extra = world.child(root, "extra")
    assert names(world.taken()) == ["child"]
    assert (extra.trace_id, extra.parent) == (root.trace_id, root.context)
    world.child(extra, "below").end()
    extra.end()
    root.end()
    assert names(world.taken()) == ["below", "extra", "root"]
    assert (world.segments.evicted, world.segments.spans_late) == (1, 1)


def test_under_a_root_that_never_ends_errors_are_kept_for_ever():
    world = World(limits=Limits(segment_spans=3))
    consumer = world.root("consumer")
    for number in range(20):
        message = world.child(consumer, f"message {number}")
        if number % 10 == 9:
            message.set_status(StatusCode.ERROR)
        message.end()
    assert names(world.taken()) == ["message 9", "message 19"]
    assert world.segments.open == 0


@pytest.mark.parametrize("reason", ["error", "slow"])
def test_a_root_whose_segment_was_judged_early_is_kept_for_its_own_sake(reason):
    world = World(limits=Limits(segment_spans=1))
    root = world.root()
    world.child(root).end()
    if reason == "error":
        root.set_status(StatusCode.ERROR)
    else:
        world.pass_s(2)
    root.end()
    assert world.taken() == [root]


def test_when_too_many_spans_are_open_the_oldest_segment_is_judged_with_what_it_has():
    world = World(limits=Limits(open_spans=4))
    leaked = world.root("leaked")
    failing = world.child(leaked, "failing")
    failing.set_status(StatusCode.ERROR)
    failing.end()
    second = world.root("second")
    world.child(second)
    assert (world.segments.open, world.segments.spans_open, world.taken()) == (2, 4, [])
    world.child(second, "one more")
    assert names(world.taken()) == ["failing"]
    assert (world.segments.open, world.segments.spans_open, world.segments.evicted) == (1, 3, 1)


def test_a_child_that_finds_its_own_segment_evicted_begins_another():
    world = World(sampling=Sampling(ratio=1.0), limits=Limits(open_spans=2))
    oldest = world.root("oldest")
    world.child(oldest, "first")
    second = world.child(oldest, "second")
    assert (world.segments.open, world.segments.evicted) == (0, 1)
    assert (second.trace_id, second.parent) == (oldest.trace_id, oldest.context)


def test_the_root_of_an_evicted_segment_is_late():
    world = World(limits=Limits(open_spans=1))
    stream, other = world.root("stream"), world.root("other")
    assert stream.trace_id != other.trace_id, "asking gives them segments"
    world.pass_s(5)
    stream.end()
    assert names(world.taken()) == ["stream"]
    assert world.segments.spans_late == 1


def test_roots_that_never_end_do_not_stop_recording():
    world = World(limits=Limits(open_spans=3))
    for number in range(50):
        world.root(f"leak {number}")
    failing = world.root("failing")
    failing.set_status(StatusCode.ERROR)
    failing.end()
    assert names(world.taken()) == ["failing"]
    assert world.segments.open <= 3


# -- alone ------------------------------------------------------------------------------------------


def test_a_local_root_stands_alone_until_it_has_a_child_or_somebody_asks():
    world = World()
    alone, mother, asked = (world.root(name) for name in ("alone", "mother", "asked"))
    assert (world.segments.open, world.segments.spans_open) == (0, 0)
    world.child(mother)
    assert (world.segments.open, world.segments.spans_open) == (1, 2)
    assert asked.context.is_valid
    assert (world.segments.open, world.segments.spans_open) == (2, 3)
    alone.end()
    assert (world.segments.open, world.segments.dropped, world.segments.spans_dropped) == (2, 1, 1)


@pytest.mark.parametrize("kept", [True, False])
def test_who_stood_alone_is_afterwards_who_it_was(kept):
    world = World()
    world.dice.bits = KEEP_BITS if kept else DROP_BITS
    root = world.root()
    root.end()
    assert world.dice.traces == 1
    after = world.child(root, "after")
    assert (after.trace_id, after.parent) == (root.trace_id, root.context)
    assert root.context.trace_flags == (3 if kept else 2)
    assert (world.dice.traces, world.segments.open) == (1, 1)
    assert world.taken() == [root] * kept


@pytest.mark.parametrize("flags", [0, 3])
def test_who_stands_alone_under_a_remote_parent_is_of_its_trace(flags):
    world = World()
    root = world.child(remote(5 << 56 | KEEP_BITS, flags=flags))
    root.end()
    assert world.taken() == [root]
    assert (root.trace_id, root.context.trace_flags) == (5 << 56 | KEEP_BITS, flags)
    assert world.dice.traces == 0


def test_a_child_that_comes_while_its_root_ends_alone_is_late():
    world = World(sampling=Sampling(ratio=1.0))
    root = world.root()
    draw, children = world.dice.getrandbits, []

    def as_if_another_thread_came_between(bits: int) -> int:
        world.provider.segments.random_bits = draw
        children.append(world.child(root))
        return draw(bits)

    world.provider.segments.random_bits = as_if_another_thread_came_between
    root.end()
    assert world.taken() == [root]
    children[0].end()
    assert world.taken() == children
    assert (world.segments.open, world.recorded, world.segments.spans_late) == (0, 2, 1)


@pytest.mark.usefixtures("impatient")
def test_threads_lose_no_span_of_roots_that_stop_standing_alone():
    world = World(sampling=Sampling(ratio=1.0), limits=Limits(lane_spans=100_000, lane_reserve=0.0))
    roots = [world.root() for _ in range(2_000)]

    def end() -> None:
        for root in roots:
            root.end()

    def bear() -> None:
        for root in roots:
            world.child(root).end()

    threads = [threading.Thread(target=work) for work in (end, bear, bear)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert world.recorded == len(world.taken()) == 3 * len(roots)
    assert (world.segments.open, world.segments.spans_open) == (0, 0)


# -- ids -------------------------------------------------------------------------------------------


def test_a_child_of_a_dropped_segment_never_draws_an_id_of_its_own():
    world = World()
    root = world.root()
    world.child(root).end()
    root.end()
    assert (world.dice.traces, world.dice.spans) == (1, 0)


def test_a_span_costs_no_id_before_somebody_asks():
    world = World()
    root = world.root()
    root.set_status(StatusCode.ERROR)
    root.end()
    assert world.dice.spans == 0
    [span] = world.taken()
    assert span.trace_id == span.trace_id == span.context.trace_id != 0
    assert span.span_id == span.span_id == span.context.span_id != 0


def test_ids_are_never_zero():
    world = World()
    world.provider.segments.random_bits = lambda bits: 0
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
    assert repr(root.segment) == "<Segment open, 1 spans>"
    assert repr(world.provider.segments) == "<Segments 1 open with 1 of 65536 spans, evicted=0>"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("limits", [{"open_spans": 9, "segment_spans": 4}, {}])
def test_threads_lose_no_span(limits):
    world = World(sampling=Sampling(ratio=1.0), limits=Limits(lane_spans=100_000, lane_reserve=0.0, **limits))

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
    assert world.recorded == now.spans_kept == len(world.taken()) == 6 * 300 * 5
    assert world.opened == sum(now.kept.values())
    assert (now.open, now.spans_open) == (0, 0)
