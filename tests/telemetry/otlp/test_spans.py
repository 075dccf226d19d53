"""Against two oracles: the Protocol Buffers library with OTLP's own descriptors, and the SDK's encoder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from seawall.telemetry.otlp.values import VALUES_LIMIT
from tests.telemetry.otlp.reading import decoded, listed, pairs, requests_of, spans_in
from tests.telemetry.otlp.samples import TIME_NS, Described, Happened, Light, Linked, light_spans, sdk_spans

W3C_BITS = 0xFF
EXAMPLES = 25
"""A span has some forty values that vary, so that one example is many."""


def one(span):
    (only,) = spans_in(decoded(span))
    return only


# --- the library as the oracle ------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(st.lists(light_spans, max_size=3))
def test_the_library_reads_what_was_in_the_spans(batch):
    found = spans_in(decoded(*batch))
    assert len(found) == len(batch)
    for span, read in zip(batch, found, strict=True):
        assert read.trace_id == span.trace_id.to_bytes(16, "big")
        assert read.span_id == span.span_id.to_bytes(8, "big")
        parent = span.parent_span_id
        assert read.parent_span_id == (parent.to_bytes(8, "big") if parent else b"")
        assert (read.trace_state, read.flags) == (span.trace_state, span.flags)
        assert (read.name, read.kind) == (span.name, span.kind.value + 1)
        assert (read.start_time_unix_nano, read.end_time_unix_nano) == (span.start_time, span.end_time or 0)
        assert pairs(read.attributes) == listed(span.attributes or {})
        assert [
            Happened(e.name, e.time_unix_nano, pairs(e.attributes), e.dropped_attributes_count)
            for e in read.events
        ] == [e._replace(attributes=listed(e.attributes or {})) for e in span.events]
        assert (read.status.code, read.status.message) == (
            span.status_code.value,
            span.status_description or "",
        )
        assert read.dropped_attributes_count == span.dropped_attributes
        assert read.dropped_events_count == span.dropped_events
        assert read.dropped_links_count == span.dropped_links
        for link, read_link in zip(span.links, read.links, strict=True):
            context = link.context
            assert read_link.trace_id == context.trace_id.to_bytes(16, "big")
            assert read_link.span_id == context.span_id.to_bytes(8, "big")
            assert read_link.trace_state == context.trace_state.to_header()
            assert pairs(read_link.attributes) == listed(dict(link.attributes))
            assert read_link.dropped_attributes_count == link.dropped_attributes
            assert read_link.flags == context.trace_flags | 0x100 | (0x200 if context.is_remote else 0)


@settings(max_examples=EXAMPLES)
@given(light_spans)
def test_the_bytes_are_canonical(span):
    """The library writes the same bytes; but it leaves out numbers that are zero."""
    span.start_time, span.end_time, span.flags = span.start_time or 1, span.end_time or 1, span.flags or 1
    span.events = [event._replace(timestamp=event.timestamp or 1) for event in span.events]
    (request,) = requests_of([span])
    assert ExportTraceServiceRequest.FromString(request.body).SerializeToString() == request.body


# --- the SDK's encoder as the oracle ------------------------------------------------------------------------


def without_w3c_bits(message):
    """The SDK leaves the eight W3C bits of the flags empty, which the protocol has a place for."""
    for span in spans_in(message):
        span.flags &= ~W3C_BITS
        for link in span.links:
            link.flags &= ~W3C_BITS
            link.trace_state = ""  # which the SDK leaves out too
    return message


@settings(max_examples=EXAMPLES)
@given(st.lists(sdk_spans, max_size=3))
def test_spans_of_the_sdk_are_encoded_as_the_sdk_does(batch):
    assert without_w3c_bits(decoded(*batch)) == encode_spans(batch)


def test_spans_that_the_sdk_recorded():
    """Through the SDK's own machinery: bounded attributes, dropped counts, exceptions, remote parents."""
    memory = InMemorySpanExporter()
    limits = SpanLimits(max_attributes=2, max_events=2, max_links=1, max_event_attributes=1)
    provider = TracerProvider(span_limits=limits)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("library", "3", "https://schema", {"a": 1})
    remote = NonRecordingSpan(SpanContext(7, 9, True, TraceFlags(1)))
    links = [Link(SpanContext(1, 2, False), {"k": "v"}), Link(SpanContext(3, 4, True))]
    with pytest.raises(LookupError):
        with tracer.start_as_current_span(
            "outer", set_span_in_context(remote), SpanKind.CLIENT, links=links
        ) as span:
            span.set_attributes({"a": "1", "b": [1, 2], "c": 3})
            for number in range(3):
                span.add_event("event", {"x": number, "y": "z"})
            with tracer.start_as_current_span("inner") as inner:
                inner.set_status(Status(StatusCode.OK))
            raise LookupError("gone")
    recorded = memory.get_finished_spans()
    message = decoded(*recorded)
    assert without_w3c_bits(decoded(*recorded)) == encode_spans(recorded)
    inner, outer = message.resource_spans[0].scope_spans[0].spans
    assert (outer.dropped_attributes_count, outer.dropped_events_count, outer.dropped_links_count) == (
        1,
        2,
        1,
    )
    assert outer.flags == 0x300 | outer.flags & W3C_BITS
    assert inner.parent_span_id == outer.span_id


def test_what_the_tracer_recorded():
    """Our own provider's spans, by their cheap ways or by the SDK's."""
    from tests.telemetry.tracing.world import World

    world = World()
    with pytest.raises(LookupError):
        with world.tracer.start_as_current_span("outer", attributes={"a": 1, "b": (True, "x")}):
            with world.tracer.start_as_current_span("inner", kind=SpanKind.CLIENT) as inner:
                inner.add_event("event", {"x": 0.5})
                inner.add_link(SpanContext(1, 2, True))
            raise LookupError("gone")
    recorded = world.lane.take(9)
    inner, outer = spans_in(decoded(*recorded))
    assert without_remote_bits(without_w3c_bits(decoded(*recorded))) == without_remote_bits(
        encode_spans(recorded)
    )
    assert (inner.parent_span_id, inner.trace_id, outer.parent_span_id) == (
        outer.span_id,
        outer.trace_id,
        b"",
    )
    assert (outer.status.code, outer.status.message) == (2, "LookupError: gone")
    assert inner.flags & W3C_BITS == recorded[0].context.trace_flags


def without_remote_bits(message):
    for span in spans_in(message):
        span.flags &= W3C_BITS
    return message


# --- what is odd --------------------------------------------------------------------------------------------


def test_half_a_surrogate_pair_becomes_a_question_mark():
    read = one(
        Light(
            name="a\ud800",
            attributes={"k\udfff": "v\ud800"},
            status_code=StatusCode.ERROR,
            status_description="\ud800",
        )
    )
    assert (read.name, pairs(read.attributes), read.status.message) == ("a?", {"k?": "v?"}, "?")


def test_what_exceeds_the_room_of_a_span_is_counted_as_dropped():
    many = {f"k{n}": n for n in range(VALUES_LIMIT - 2)}
    read = one(
        Light(
            attributes=many,
            events=[Happened("e", 1, {"a": 1})] * 5,
            links=[Linked(SpanContext(1, 2, False))] * 3,
            dropped_events=1,
        )
    )
    assert (len(read.attributes), len(read.events), len(read.links)) == (VALUES_LIMIT - 2, 2, 0)
    assert [event.dropped_attributes_count for event in read.events] == [1, 1]
    assert (read.dropped_events_count, read.dropped_links_count) == (4, 3)


def test_flags_that_the_protocol_doesnt_know_are_not_told():
    assert one(Light(flags=0xFFFF)).flags == 0x3FF


# --- resources and scopes -----------------------------------------------------------------------------------


def test_a_resource_and_a_scope_with_everything():
    resource = Described(attributes={"service.name": "shop", "bad": object()}, schema_url="https://resource")
    scope = Described("lib", "9", {"x": 1, "": 2}, "https://scope")
    (read,) = decoded(Light(resource=resource, instrumentation_scope=scope)).resource_spans
    assert pairs(read.resource.attributes) == {"service.name": "shop"}
    assert (read.resource.dropped_attributes_count, read.schema_url) == (1, "https://resource")
    (inner,) = read.scope_spans
    assert (inner.scope.name, inner.scope.version, inner.schema_url) == ("lib", "9", "https://scope")
    assert (pairs(inner.scope.attributes), inner.scope.dropped_attributes_count) == ({"x": 1}, 1)


def test_a_scope_without_a_name_and_a_version():
    (read,) = decoded(Light(instrumentation_scope=Described("", None))).resource_spans
    assert (read.scope_spans[0].scope.name, read.scope_spans[0].scope.version) == ("", "")


def test_a_span_without_a_resource_and_a_scope():
    (read,) = decoded(Light(resource=None, instrumentation_scope=None)).resource_spans
    assert read.HasField("resource")
    assert not read.resource.attributes
    assert read.scope_spans[0].scope.name == ""
    assert read.scope_spans[0].spans[0].start_time_unix_nano == TIME_NS
