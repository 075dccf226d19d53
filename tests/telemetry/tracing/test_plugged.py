"""Samplers and span processors of the SDK, called as the SDK calls them."""

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, StatusCode, TraceState

from seawall.telemetry.tracing.settings import Limits, Sampling
from seawall.telemetry.tracing.span import ObservedSpan, Span, Unrecorded
from tests.telemetry.tracing.world import KEEP_BITS, World, remote


class Notes(SpanProcessor):
    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []
        self.contexts: list[object] = []

    def on_start(self, span, parent_context=None):
        span.set_attribute("seen", True)
        self.contexts.append(parent_context)
        self.notes.append(("start", span.name))

    def _on_ending(self, span):
        self.notes.append(("ending", span.name))

    def on_end(self, span):
        self.notes.append(("end", span.name))

    def shutdown(self):
        self.notes.append(("shutdown", ""))

    def force_flush(self, timeout_millis=30_000):
        self.notes.append(("flush", str(timeout_millis)))
        return True


class Raising(SpanProcessor):
    def on_start(self, span, parent_context=None):
        raise RuntimeError("start")

    def on_end(self, span):
        raise RuntimeError("end")

    def shutdown(self):
        raise RuntimeError("shutdown")

    def force_flush(self, timeout_millis=30_000):
        raise RuntimeError("flush")


class Fixed(Sampler):
    """Answers one thing and remembers the questions."""

    def __init__(self, *answers: Decision, state: TraceState | None = None) -> None:
        self.answers = list(answers)
        self.state = state
        self.asked: list[tuple] = []

    def should_sample(
        self, parent_context, trace_id, name, kind=None, attributes=None, links=None, trace_state=None
    ):
        self.asked.append((trace_id, name, attributes, links))
        decision = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return SamplingResult(decision, {**(attributes or {}), "sampler": "fixed"}, self.state)

    def get_description(self):
        return "Fixed"


class RaisingSampler(Fixed):
    def should_sample(self, *args, **kwargs):
        raise RuntimeError("no decision")


def test_without_plugins_the_short_way_is_taken():
    world = World()
    assert world.tracer.delegate is None
    assert type(world.root()) is Span


def test_processors_hear_of_every_recorded_span_even_of_tracers_that_were_there_before():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(notes)
    root = world.root()
    child = world.child(root)
    assert type(child) is ObservedSpan
    child.end()
    child.end()
    root.end()
    expected = [("start", "root"), ("start", "child"), ("ending", "child"), ("end", "child")]
    assert notes.notes == [*expected, ("ending", "root"), ("end", "root")]
    assert child.attributes == {"seen": True}
    assert world.segments.dropped == 1, "the segment is judged all the same"


def test_processors_are_told_of_current_spans_too():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(notes)
    with world.tracer.start_as_current_span("outer") as outer:
        with world.provider.get_tracer("later").start_as_current_span("inner") as inner:
            assert inner.parent == outer.context
    assert [name for note, name in notes.notes if note == "end"] == ["inner", "outer"]


def test_a_span_from_before_the_installation_stays_a_parent():
    world = World()
    before = world.root("before")
    world.provider.add_span_processor(Notes())
    after = world.child(before, "after")
    assert after.parent == before.context
    assert after._segment is before._segment


def test_a_child_of_an_observed_span_is_in_its_segment():
    world = World(sampling=Sampling(ratio=1.0))
    world.provider.add_span_processor(Notes())
    root = world.root()
    world.child(root).end()
    assert world.lane.waiting == 0
    root.end()
    assert world.lane.waiting == 2


def test_a_stock_exporter_gets_our_spans():
    world = World(sampling=Sampling(ratio=1.0))
    exporter = InMemorySpanExporter()
    world.provider.add_span_processor(SimpleSpanProcessor(exporter))
    with world.tracer.start_as_current_span("outer"):
        world.tracer.start_span("inner").end()
    inner, outer = exporter.get_finished_spans()
    assert (inner.name, inner.parent) == ("inner", outer.context)


def test_a_processor_that_raises_is_counted_and_stops_nobody():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(Raising())
    world.provider.add_span_processor(notes)
    world.root().end()
    assert not world.provider.force_flush()
    world.provider.shutdown()
    assert [note for note, _ in notes.notes] == ["start", "ending", "end", "flush", "shutdown"]
    assert world.segments.plugin_errors == 4


def test_flushing_shares_one_time():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(notes)
    assert world.provider.force_flush(500)
    assert notes.notes == [("flush", "500")]


def test_a_full_segment_tells_processors_nothing():
    world = World(limits=Limits(segment_spans=1))
    notes = Notes()
    world.provider.add_span_processor(notes)
    root = world.root()
    assert isinstance(world.child(root), Unrecorded)
    assert notes.notes == [("start", "root")]


# -- samplers --------------------------------------------------------------------------------------


def test_a_sampler_is_asked_and_its_answer_becomes_the_context():
    state = TraceState([("vendor", "value")])
    sampler = Fixed(Decision.RECORD_AND_SAMPLE, state=state)
    world = World(sampler=sampler)
    root = world.root(attributes={"a": 1})
    [(trace_id, name, attributes, links)] = sampler.asked
    assert (name, attributes, links) == ("root", {"a": 1}, ())
    assert root.context.trace_id == root.trace_id == trace_id
    assert root.context.span_id == root.span_id
    assert (root.context.trace_state, root.trace_flags) == (state, 3)
    assert root.attributes == {"a": 1, "sampler": "fixed"}


def test_dropped_gives_a_span_that_does_not_record():
    world = World(sampler=ALWAYS_OFF)
    span = world.tracer.start_span("span")
    assert isinstance(span, NonRecordingSpan)
    assert span.get_span_context().is_valid
    assert span.get_span_context().trace_flags == 2
    assert world.segments.opened == 0


def test_record_only_is_recorded_without_the_flag_and_kept_for_a_reason_only():
    world = World(sampler=Fixed(Decision.RECORD_ONLY))
    world.dice.bits = KEEP_BITS
    world.root().end()
    assert world.taken() == [], "the ratio is not asked"
    failing = world.root()
    failing.set_status(StatusCode.ERROR)
    failing.end()
    assert world.taken() == [failing]
    assert failing.trace_flags == 2


def test_sampled_is_kept():
    world = World(sampler=ALWAYS_ON)
    world.root().end()
    assert len(world.taken()) == 1
    assert world.segments.kept["head"] == 1


@pytest.mark.parametrize("flags", [2, 3])
def test_parent_based_goes_by_the_remote_parent(flags):
    world = World(sampler=DEFAULT_ON)
    span = world.child(remote(0xABC, flags=flags))
    assert isinstance(span, ObservedSpan) is bool(flags & 1)
    assert span.get_span_context().trace_flags == flags
    assert span.get_span_context().trace_id == 0xABC
    below = world.child(span)
    assert below.get_span_context().trace_id == 0xABC
    assert below.get_span_context().trace_flags == flags


def test_below_a_dropped_span_a_sampler_may_record_again():
    world = World(sampler=Fixed(Decision.DROP, Decision.RECORD_AND_SAMPLE))
    dropped = world.tracer.start_span("dropped")
    recorded = world.child(dropped, "recorded")
    recorded.end()
    assert world.taken() == [recorded]
    assert recorded.parent == dropped.get_span_context()


def test_a_sampler_that_raises_is_counted_and_the_span_recorded():
    world = World(sampler=RaisingSampler(Decision.DROP))
    span = world.root()
    assert span.is_recording()
    assert world.segments.plugin_errors == 1


def test_the_sampler_can_be_read_back():
    sampler = TraceIdRatioBased(0.5)
    assert World(sampler=sampler).provider.sampler is sampler
