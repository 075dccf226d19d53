"""A span's own rules: the end, the status, events, links, exceptions, limits, and that nothing raises."""

import json
import logging

import pytest
from opentelemetry import trace as api
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceState

from seawall.telemetry.tracing.failing import CHAIN_MAX, DESCRIPTION_MAX, FRAMES_MAX
from seawall.telemetry.tracing.settings import Limits, Sampling
from tests.telemetry.tracing.world import SECOND_NS, WALL_START_NS, World, remote

ELSEWHERE = SpanContext(0xABC, 0xDEF, True)


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text today")


@pytest.fixture(autouse=True)
def silent(caplog):
    """Whatever a test does to a span, nothing is logged."""
    with caplog.at_level(logging.DEBUG):
        yield
    assert not caplog.records


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_a_span_of_the_api(world):
    span = world.root()
    assert isinstance(span, api.Span)
    assert type(span).__mro__[1] is api.Span


def test_its_times_are_of_the_wall_clock_and_its_duration_of_the_monotonic_one(world):
    span = world.root()
    world.pass_s(0.25)
    world.step = -3_600 * SECOND_NS
    span.end()
    assert span.start_time == span._start_time == WALL_START_NS + 5 * SECOND_NS
    assert span.end_time == span._end_time == span.start_time + SECOND_NS // 4


def test_times_that_are_given_are_the_times(world):
    span = world.root(start_time=1_000)
    child = world.child(span, start_time=2_000)
    child.end(3_000)
    span.end(4_000)
    assert (span.start_time, span.end_time) == (1_000, 4_000)
    assert (child.start_time, child.end_time) == (2_000, 3_000)


def test_a_step_of_the_wall_clock_is_noticed_after_a_second(world):
    world.root()
    world.step = SECOND_NS * 100
    assert world.root().start_time == WALL_START_NS + 5 * SECOND_NS
    world.pass_s(1)
    assert world.root().start_time == WALL_START_NS + 106 * SECOND_NS


def test_a_second_end_changes_nothing(world):
    span = world.root()
    span.end(WALL_START_NS + 9 * SECOND_NS)
    span.end()
    assert span.end_time == WALL_START_NS + 9 * SECOND_NS
    assert world.segments.after_end == 1
    assert world.opened == 1


def test_an_ended_span_is_deaf_and_counts(world):
    span = world.root("name", attributes={"a": 1})
    segment = span.segment
    span.end()
    span.set_attribute("b", 2)
    span.set_attributes({"b": 2})
    span.add_event("breaker.late")
    span.add_link(ELSEWHERE)
    span.update_name("other")
    span.set_status(StatusCode.ERROR)
    span.record_exception(ValueError("late"))
    assert (span.name, span.attributes, span.events, span.links) == ("name", {"a": 1}, (), ())
    assert span.status_code is StatusCode.UNSET
    assert segment.reasons == 0
    assert not span.is_recording()
    assert world.segments.after_end == 7


# -- status ----------------------------------------------------------------------------------------


def test_ok_is_final(world):
    span = world.root()
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "too late")
    assert (span.status.status_code, span.status.description) == (StatusCode.OK, None)


def test_unset_is_ignored(world):
    span = world.root()
    span.set_status(Status(StatusCode.ERROR, "broken"))
    span.set_status(StatusCode.UNSET)
    span.set_status(Status(StatusCode.UNSET))
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "broken")


def test_a_later_error_replaces_an_earlier_one(world):
    span = world.root()
    span.set_status(StatusCode.ERROR, "first")
    span.set_status(StatusCode.ERROR, "second")
    assert (span.status_code, span.status_description) == (StatusCode.ERROR, "second")
    span.set_status(StatusCode.ERROR)
    assert span.status_description is None


def test_only_errors_have_a_description(world):
    span = world.root()
    span.set_status(StatusCode.OK, "fine")
    assert span.status.description is None


def test_a_description_beside_a_status_is_ignored(world):
    span = world.root()
    span.set_status(Status(StatusCode.ERROR, "mine"), "beside")
    assert span.status.description == "mine"


def test_what_is_no_status_is_counted(world):
    span = world.root()
    span.set_status(2)
    assert span.status_code is StatusCode.UNSET
    assert world.segments.failed == 1


# -- attributes ------------------------------------------------------------------------------------


def test_attributes_at_the_start_are_a_copy(world):
    given = {"a": 1}
    span = world.root(attributes=given)
    given["b"] = 2
    assert span.attributes == {"a": 1}


@pytest.mark.parametrize("how", ["start", "one", "many", "event"])
def test_sequences_are_frozen_to_tuples(world, how):
    hosts = ["a", "b"]
    span = world.root(attributes={"hosts": hosts} if how == "start" else None)
    if how == "one":
        span.set_attribute("hosts", hosts)
    elif how == "many":
        span.set_attributes({"hosts": hosts})
    elif how == "event":
        span.add_event("event", {"hosts": hosts})
    hosts.append("c")
    read = span.events[0].attributes if how == "event" else span.attributes
    assert read["hosts"] == ("a", "b")


def test_attributes_can_be_read_and_not_written_from_outside(world):
    span = world.root()
    assert dict(span.attributes) == {}
    with pytest.raises(TypeError):
        span.attributes["a"] = 1


def test_a_full_span_loses_the_oldest_attribute_and_counts():
    world = World(limits=Limits(attributes=2))
    span = world.root(attributes={"a": 1, "b": 2, "c": 3})
    assert (dict(span.attributes), span.dropped_attributes) == ({"b": 2, "c": 3}, 1)
    span.set_attribute("b", 4)
    span.set_attribute("d", 5)
    assert (dict(span.attributes), span.dropped_attributes) == ({"b": 4, "d": 5}, 2)
    span.set_attributes({"e": 6})
    assert (dict(span.attributes), span.dropped_attributes) == ({"d": 5, "e": 6}, 3)


def test_texts_are_cut():
    world = World(limits=Limits(value_length=3))
    span = world.root(attributes={"a": "abcdef"})
    span.set_attribute("b", "abcdef")
    span.set_attribute("c", ["abcdef", 5])
    assert span.attributes == {"a": "abc", "b": "abc", "c": ("abc", 5)}


def test_what_is_cut_by_default_is_long():
    span = World().root(attributes={"sql": "x" * 100_000, "raw": b"x" * 100_000})
    assert {len(value) for value in span.attributes.values()} == {Limits().value_length}


@pytest.mark.parametrize("key", ["", None, 5, ["list"], Broken()])
def test_what_can_be_no_key_is_dropped(world, key):
    span = world.root()
    span.set_attribute(key, 1)
    assert (dict(span.attributes), span.dropped_attributes) == ({}, 1)


# -- events and links ------------------------------------------------------------------------------


def test_an_event_has_a_name_a_time_and_attributes(world):
    span = world.root()
    world.pass_s(1)
    span.add_event("now", {"a": 1})
    span.add_event("then", timestamp=7)
    [now, then] = span.events
    assert (now.name, now.timestamp, now.attributes) == ("now", WALL_START_NS + 6 * SECOND_NS, {"a": 1})
    assert then == ("then", 7, {})


def test_events_are_bounded():
    world = World(limits=Limits(events=2, event_attributes=1))
    span = world.root()
    for name in "abc":
        span.add_event(name, {"x": 1, "y": 2})
    assert [event.name for event in span.events] == ["b", "c"]
    assert (span.dropped_events, span.events[0].dropped_attributes) == (1, 1)


def test_what_an_event_loses_is_counted_even_if_it_loses_all():
    world = World(limits=Limits(event_attributes=0, link_attributes=0))
    span = world.root(links=[Link(ELSEWHERE, {"x": 1})])
    span.add_event("empty", {"x": 1, "y": 2})
    assert (span.events[0].attributes, span.events[0].dropped_attributes) == ({}, 2)
    assert (span.links[0].attributes, span.links[0].dropped_attributes) == ({}, 1)


@pytest.mark.parametrize("at_start", [True, False])
@pytest.mark.parametrize(
    ("context", "attributes", "kept"),
    [
        (ELSEWHERE, None, True),
        (api.INVALID_SPAN_CONTEXT, None, False),
        (api.INVALID_SPAN_CONTEXT, {}, False),
        (api.INVALID_SPAN_CONTEXT, {"why": "attributed"}, True),
        (SpanContext(0, 0, True, trace_state=TraceState([("a", "b")])), None, True),
    ],
)
def test_a_link_that_leads_nowhere_is_dropped_unless_it_says_something(
    world, at_start, context, attributes, kept
):
    span = world.root(links=[Link(context, attributes)] if at_start else None)
    if not at_start:
        span.add_link(context, attributes)
    assert [(link.context, link.attributes) for link in span.links] == (
        [(context, attributes or {})] if kept else []
    )


def test_links_are_bounded():
    world = World(limits=Limits(links=2, link_attributes=1))
    contexts = [SpanContext(number, number, True) for number in range(1, 5)]
    span = world.root(links=[Link(context, {"x": 1, "y": 2}) for context in contexts[:3]])
    span.add_link(contexts[3])
    assert [link.context for link in span.links] == contexts[2:]
    assert (span.dropped_links, span.links[0].dropped_attributes) == (2, 1)


# -- exceptions ------------------------------------------------------------------------------------


def test_an_exception_is_an_event_and_no_status(world):
    span = world.root()
    try:
        raise Status("x")  # a TypeError from the interpreter, with a stack trace
    except TypeError as error:
        span.record_exception(error, {"exception.message": "mine", "more": 1}, timestamp=9, escaped=True)
    [event] = span.events
    assert (event.name, event.timestamp) == ("exception", 9)
    assert event.attributes["exception.type"] == "TypeError"
    assert event.attributes["exception.message"] == "mine"
    assert event.attributes["exception.escaped"] == "True"
    assert "test_span.py" in event.attributes["exception.stacktrace"]
    assert event.attributes["more"] == 1
    assert span.status_code is StatusCode.UNSET


def test_an_exception_of_a_module_is_named_with_it(world):
    span = world.root()
    span.record_exception(json.JSONDecodeError("bad", "x", 0))
    assert span.events[0].attributes["exception.type"] == "json.decoder.JSONDecodeError"


def test_an_exception_without_text_is_recorded_all_the_same(world):
    span = world.root()
    span.record_exception(Broken())
    assert span.events[0].attributes["exception.message"] == "<Broken without text>"


def test_with_span_records_what_leaves_the_block_and_ends(world):
    with pytest.raises(ValueError, match="no"):
        with world.root() as span:
            raise ValueError("no")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError: no")
    assert span.events[0].attributes["exception.escaped"] == "True"
    assert not span.is_recording()


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, GeneratorExit, SystemExit])
def test_what_is_no_exception_is_no_error(world, leaving):
    with pytest.raises(leaving):
        with world.root() as span:
            raise leaving
    assert (span.events, span.status_code, span.is_recording()) == ((), StatusCode.UNSET, False)


def test_with_span_does_as_its_tracer_was_told(world):
    with pytest.raises(ValueError, match="no"):
        with world.root(record_exception=False, set_status_on_exception=False) as span:
            raise ValueError("no")
    assert (span.events, span.status_code) == ((), StatusCode.UNSET)


def test_an_exception_after_the_end_is_not_recorded(world):
    with pytest.raises(ValueError, match="no"):
        with world.root() as span:
            span.end()
            raise ValueError("no")
    assert (span.events, span.status_code) == ((), StatusCode.UNSET)


def test_a_long_stack_is_told_from_its_innermost_frames(world):
    def dig(depth):
        if depth == 0:
            raise ValueError("bottom")
        dig(depth - 1)

    span = world.root()
    with pytest.raises(ValueError, match="bottom") as raised:
        dig(FRAMES_MAX * 2)
    span.record_exception(raised.value)
    text = span.events[0].attributes["exception.stacktrace"]
    assert 'raise ValueError("bottom")' in text
    assert "dig(FRAMES_MAX * 2)" not in text


@pytest.mark.parametrize(("links", "told"), [(CHAIN_MAX - 1, True), (CHAIN_MAX, False)])
def test_a_long_chain_of_exceptions_is_told_by_its_last(world, links, told):
    error = KeyError("first")
    for number in range(links):
        later = ValueError(number)
        later.__cause__ = error
        error = later
    span = world.root()
    span.record_exception(error)
    text = span.events[0].attributes["exception.stacktrace"]
    assert f"ValueError: {links - 1}" in text
    assert ("KeyError: 'first'" in text) is told


def test_a_long_description_is_cut(world):
    span = world.root()
    span.set_status(StatusCode.ERROR, "x" * (DESCRIPTION_MAX + 1))
    assert span.status.description == "x" * DESCRIPTION_MAX


# -- nothing raises --------------------------------------------------------------------------------


class Treacherous(dict):
    def items(self):
        raise RuntimeError("not today")

    def __bool__(self) -> bool:
        return True


@pytest.mark.parametrize("attributes", [5, "text", ["list"], Treacherous(), {1: Broken()}])
def test_attributes_that_are_none_hurt_nobody(world, attributes):
    span = world.root(attributes=attributes, links=[Link(ELSEWHERE, attributes)])
    span.set_attributes(attributes)
    span.add_event("event", attributes)
    span.add_link(ELSEWHERE, attributes)
    span.record_exception(ValueError(), attributes)
    span.end()
    assert span.end_time is not None
    lost = span.dropped_attributes + sum(event.dropped_attributes for event in span.events)
    assert world.segments.failed + lost > 0


@pytest.mark.parametrize(("links", "failed"), [(5, 1), ([None], 1), ([5, "x"], 2), ("text", 4), ((), 0)])
def test_links_that_are_none_hurt_nobody(world, links, failed):
    assert world.root(links=links).links == ()
    assert world.segments.failed == failed


def test_a_link_that_is_none_costs_no_other(world):
    span = world.root(links=[None, Link(ELSEWHERE)])
    assert [link.context for link in span.links] == [ELSEWHERE]


def test_other_arguments_of_wrong_types_hurt_nobody(world):
    span = world.root(start_time="yesterday")
    span.add_event(5)
    span.add_link("nowhere")
    span.end("tomorrow")
    assert span.start_time == span.end_time == WALL_START_NS + 5 * SECOND_NS
    assert world.segments.failed == 2


# -- what readers read -----------------------------------------------------------------------------


def test_readers_find_what_they_look_for(world):
    root = world.child(remote(0xABC, flags=3, span_id=9), "root", kind=SpanKind.SERVER)
    child = world.child(root)
    assert (root.name, root.kind, child.kind) == ("root", SpanKind.SERVER, SpanKind.INTERNAL)
    assert (root.parent.span_id, root.parent.is_remote) == (9, True)
    assert child.parent == root.context == root.get_span_context()
    assert child.context.trace_id == root.trace_id == 0xABC
    assert (child.trace_id, child.span_id) == (child.context.trace_id, child.context.span_id)
    assert child.context.trace_flags == 3
    assert (child.instrumentation_scope.name, child.instrumentation_scope.version) == ("tests", "1.2")
    assert child.resource is world.provider.resource
    assert (child.events, child.links) == ((), ())
    assert (child.dropped_attributes, child.dropped_events, child.dropped_links) == (0, 0, 0)
    assert child.end_time is None


def test_its_lineage_is_what_its_contexts_say(world):
    state = TraceState([("a", "1"), ("b", "2")])
    root = world.child(remote(0xABC, flags=3, span_id=9, state=state), "root")
    child, alone = world.child(root), world.root()
    told = [span.lineage() for span in (child, root, alone)]
    assert told[1] == (0xABC, root.context.span_id, 9, 0x303, "a=1,b=2")
    for span, (trace_id, span_id, parent_id, flags, text) in zip((child, root, alone), told, strict=True):
        context = span.context
        assert (trace_id, span_id, flags & 0xFF) == (context.trace_id, context.span_id, context.trace_flags)
        assert flags & 0x300 == (0x300 if span is root else 0x100)
        assert parent_id == (0 if span.parent is None else span.parent.span_id)
        assert text == context.trace_state.to_header()


def test_its_lineage_makes_no_context(world):
    root = world.root()
    child = world.child(root)
    child.lineage()
    assert (child._context, root._context) == (None, None)


def test_a_span_without_a_parent_has_none(world):
    assert world.root().parent is None
    assert world.child(NonRecordingSpan(api.INVALID_SPAN_CONTEXT)).parent is None


def test_flags_are_drawn_with_the_trace_id():
    world = World(sampling=Sampling(ratio=1.0))
    assert world.root().context.trace_flags == 3


def test_update_name(world):
    span = world.root("before")
    span.update_name("after")
    assert span.name == "after"


def test_its_repr_shows_its_state(world):
    span = world.root("name")
    assert repr(span) == "<Span 'name' recording, UNSET>"
    span.end()
    assert repr(span) == "<Span 'name' ended, UNSET>"
