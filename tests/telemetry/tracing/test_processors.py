"""Span processors of the SDK, called as the SDK calls them."""

import io
import json

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from seawall.telemetry.tracing.settings import Limits, Sampling
from tests.telemetry.tracing.world import World


class Notes(SpanProcessor):
    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def on_start(self, span, parent_context=None):
        span.set_attribute("seen", True)
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


class Older:
    """From before there was a hook for the ending."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def on_start(self, span, parent_context=None):
        """Nothing to do."""

    def on_end(self, span):
        self.ended.append(span.name)


def test_they_hear_of_every_span_even_of_tracers_that_were_there_before():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(notes)
    root = world.root()
    child = world.child(root)
    child.end()
    child.end()
    root.end()
    expected = [("start", "root"), ("start", "child"), ("ending", "child"), ("end", "child")]
    assert notes.notes == [*expected, ("ending", "root"), ("end", "root")]
    assert child.attributes == {"seen": True}
    assert world.segments.dropped == 1, "the segment is judged all the same"


def test_they_hear_of_current_spans_and_of_later_tracers_too():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(notes)
    with world.tracer.start_as_current_span("outer") as outer:
        with world.provider.get_tracer("later").start_as_current_span("inner") as inner:
            assert inner.parent == outer.context
    assert [name for note, name in notes.notes if note == "end"] == ["inner", "outer"]


def test_they_hear_of_the_shared_tracer_s_spans():
    world = World(limits=Limits(tracers=1))
    notes = Notes()
    world.provider.add_span_processor(notes)
    world.provider.get_tracer("too many").start_span("span").end()
    assert notes.notes == [("start", "span"), ("ending", "span"), ("end", "span")]


def test_they_hear_of_late_spans():
    world = World()
    notes = Notes()
    root = world.root()
    late = world.child(root, "late")
    world.provider.add_span_processor(notes)
    root.end()
    late.end()
    assert [name for note, name in notes.notes if note == "end"] == ["root", "late"]


def test_they_need_no_hook_for_the_ending():
    world = World()
    older = Older()
    world.provider.add_span_processor(older)
    world.root().end()
    assert older.ended == ["root"]
    assert world.segments.processor_errors == 0


def test_a_stock_exporter_gets_our_spans():
    world = World(sampling=Sampling(ratio=1.0))
    exporter = InMemorySpanExporter()
    world.provider.add_span_processor(SimpleSpanProcessor(exporter))
    with world.tracer.start_as_current_span("outer"):
        world.tracer.start_span("inner").end()
    inner, outer = exporter.get_finished_spans()
    assert (inner.name, inner.parent) == ("inner", outer.context)


def test_one_that_raises_is_counted_and_stops_nobody():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(Raising())
    world.provider.add_span_processor(notes)
    world.root().end()
    assert not world.provider.force_flush()
    world.provider.shutdown()
    assert [note for note, _ in notes.notes] == ["start", "ending", "end", "flush", "shutdown"]
    assert world.segments.processor_errors == 4


def test_flushing_shares_one_time():
    world = World()
    notes = Notes()
    world.provider.add_span_processor(notes)
    assert world.provider.force_flush(500)
    assert notes.notes == [("flush", "500")]


def test_the_console_exporter_of_the_sdk_prints_spans():
    world, console = World(sampling=Sampling(ratio=1.0)), io.StringIO()
    world.provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=console)))
    parent = world.root(attributes={"raw": b"\x01\xff", "nested": {"a": (1, 2)}})
    world.child(parent).end()
    parent.end()
    decoder = json.JSONDecoder()
    child, end = decoder.raw_decode(console.getvalue())
    root, _ = decoder.raw_decode(console.getvalue()[end:].lstrip())
    assert child["parent_id"] == root["context"]["span_id"]
    assert (root["parent_id"], root["kind"]) == (None, "SpanKind.INTERNAL")
    assert root["attributes"] == {"raw": "01ff", "nested": {"a": [1, 2]}}
    assert root["start_time"] == "2023-11-14T22:13:25.000000Z"
    assert world.segments.processor_errors == 0
