"""Against two oracles: the Protocol Buffers library with OTLP's own descriptors, and the SDK's encoder."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
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

from seawall.telemetry.otlp import ProtobufForm, spans
from seawall.telemetry.otlp import protobuf as under_test
from seawall.telemetry.otlp.protobuf import NAMES_LIMIT
from tests.telemetry.otlp.samples import (
    CONTEXT,
    TIME_NS,
    Described,
    Light,
    Told,
    light_spans,
    sdk_spans,
)

W3C_BITS = 0xFF
EXAMPLES = 25
"""A span has some forty values that vary, so that one example is many."""


def decoded(*batch):
    return ExportTraceServiceRequest.FromString(b"".join(spans(batch)))


def one(span, form=None):
    """The span alone, as the library reads it."""
    (only,) = ScopeSpans.FromString((form or ProtobufForm()).span(span)).spans
    return only


def plain(value: AnyValue):
    """An AnyValue as the Python value that it stands for."""
    which = value.WhichOneof("value")
    if which is None:
        return None
    held = getattr(value, which)
    if which == "array_value":
        return [plain(each) for each in held.values]
    if which == "kvlist_value":
        return pairs(held.values)
    return held


def pairs(found):
    return {pair.key: plain(pair.value) for pair in found}


def listed(value):
    """As ``plain`` gives it: no tuples."""
    if isinstance(value, list | tuple):
        return [listed(each) for each in value]
    if isinstance(value, dict):
        return {key: listed(each) for key, each in value.items()}
    return value


# --- the library as the oracle ------------------------------------------------------------------------------


@settings(max_examples=EXAMPLES)
@given(st.lists(light_spans, max_size=3))
def test_the_library_reads_what_was_in_the_spans(batch):
    message = decoded(*batch)
    found = [
        span for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans
    ]
    assert len(found) == len(batch)
    for span, read in zip(batch, found, strict=True):
        assert read.trace_id == span.context.trace_id.to_bytes(16, "big")
        assert read.span_id == span.context.span_id.to_bytes(8, "big")
        assert read.trace_state == span.context.trace_state.to_header()
        parent = b"" if span.parent is None else span.parent.span_id.to_bytes(8, "big")
        assert read.parent_span_id == parent
        remote = 0x200 if span.parent is not None and span.parent.is_remote else 0
        assert read.flags == span.context.trace_flags | 0x100 | remote
        assert (read.name, read.kind) == (span.name, span.kind.value + 1)
        assert (read.start_time_unix_nano, read.end_time_unix_nano) == (
            span.start_time or 0,
            span.end_time or 0,
        )
        assert pairs(read.attributes) == listed(span.attributes or {})
        assert [(e.name, e.time_unix_nano, pairs(e.attributes)) for e in read.events] == [
            (name, at, listed(attributes or {})) for name, at, attributes in span.events or ()
        ]
        assert (read.status.code, read.status.message) == (span.status.value, span.status_description or "")
        assert read.dropped_attributes_count == span.dropped_attributes
        assert read.dropped_events_count == span.dropped_events
        assert read.dropped_links_count == span.dropped_links
        for link, read_link in zip(span.links or (), read.links, strict=True):
            assert read_link.trace_id == link.context.trace_id.to_bytes(16, "big")
            assert read_link.span_id == link.context.span_id.to_bytes(8, "big")
            assert read_link.trace_state == link.context.trace_state.to_header()
            assert pairs(read_link.attributes) == listed(link.attributes)
            assert read_link.flags == link.context.trace_flags | 0x100 | (
                0x200 if link.context.is_remote else 0
            )


@settings(max_examples=EXAMPLES)
@given(st.lists(light_spans, max_size=1))
def test_the_bytes_are_canonical(batch):
    """The library writes the same bytes; but it leaves out times that are zero."""
    for span in batch:
        span.start_time, span.end_time = span.start_time or 1, span.end_time or 1
        span.events = [(name, at or 1, held) for name, at, held in span.events or ()]
    ours = b"".join(spans(batch))
    assert ExportTraceServiceRequest.FromString(ours).SerializeToString() == ours


@pytest.mark.parametrize(
    "value",
    [
        "",
        "text",
        "ä€𝄞",
        "x" * 5_000,
        True,
        False,
        0,
        1,
        -1,
        2_047,
        2_048,
        2**63 - 1,
        -(2**63),
        0.0,
        -0.0,
        1.5,
        math.inf,
        b"",
        b"\x00\xff",
        bytearray(b"x"),
        None,
        [],
        [1, 2],
        ("a", None),
        [[1], []],
        {},
        {"a": {"b": [True]}},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_every_kind_of_value(value):
    (read,) = one(Light(attributes={"key": value})).attributes
    wanted = bytes(value) if isinstance(value, bytearray) else listed(value)
    assert plain(read.value) == wanted
    assert type(plain(read.value)) is type(wanted)
    assert (
        math.copysign(1, wanted) == math.copysign(1, plain(read.value)) if isinstance(value, float) else True
    )


def test_not_a_number():
    (read,) = one(Light(attributes={"key": math.nan})).attributes
    assert math.isnan(read.value.double_value)


# --- the SDK's encoder as the oracle ------------------------------------------------------------------------


def without_w3c_bits(message):
    """The SDK leaves the eight W3C bits of the flags empty, which the protocol has a place for."""
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
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


# --- what is odd --------------------------------------------------------------------------------------------


def test_no_parent_for_a_parent_without_an_id():
    assert one(Light(parent=SpanContext(0, 0, True))).parent_span_id == b""


def test_half_a_surrogate_pair_becomes_a_question_mark():
    read = one(Light(name="a\ud800", attributes={"k\udfff": "v\ud800"}, status_description="\ud800"))
    assert (read.name, pairs(read.attributes), read.status.message) == ("a?", {"k?": "v?"}, "?")


def test_events_may_be_objects_with_dropped_attributes():
    class Happened:
        name, timestamp, attributes, dropped_attributes = "e", 5, None, 3

    class Named(tuple):
        __slots__ = ()
        dropped_attributes = 4

    first, second = one(Light(events=[Happened(), Named(("f", 6, {}))])).events
    assert (first.name, first.time_unix_nano, first.dropped_attributes_count) == ("e", 5, 3)
    assert (second.name, second.time_unix_nano, second.dropped_attributes_count) == ("f", 6, 4)


def test_links_may_have_dropped_attributes():
    class Linked:
        context, attributes, dropped_attributes = CONTEXT, None, 4

    (read,) = one(Light(links=[Linked()])).links
    assert (read.dropped_attributes_count, read.span_id) == (4, CONTEXT.span_id.to_bytes(8, "big"))


def test_kinds_and_statuses_may_be_numbers():
    read = one(Light(kind=2, status=2, status_description="bad"))
    assert (read.kind, read.status.code, read.status.message) == (Span.SPAN_KIND_CLIENT, 2, "bad")


def test_a_span_may_have_its_code_beside_the_status():
    class Cheap:
        status_code, status_description = StatusCode.ERROR, "bad"

        def __getattr__(self, name):
            if name == "status":
                raise AssertionError("it is expensive")
            return getattr(Light(), name)

    assert one(Cheap()).status.message == "bad"


def test_a_span_may_tell_its_lineage():
    read = one(Told())
    ids = (int.from_bytes(each) for each in (read.trace_id, read.span_id, read.parent_span_id))
    assert (*ids, read.flags, read.trace_state) == (10, 11, 12, 0x301, "")


def test_no_status_is_none():
    assert not one(Light(status=None)).HasField("status")


def test_a_code_doesnt_bring_the_description_of_the_span_before():
    form = ProtobufForm()
    assert one(Light(status=StatusCode.ERROR, status_description="first"), form).status.message == "first"
    assert one(Light(status=StatusCode.ERROR), form).status.message == ""


def test_a_trace_state_is_that_of_its_span():
    form = ProtobufForm()
    states = [SpanContext(1, 2, False, trace_state=state) for state in (None, [("a", "b")], None)]
    states[1] = SpanContext(1, 2, False, trace_state=under_test.TraceState([("a", "b")]))
    assert [one(Light(context=each), form).trace_state for each in states] == ["", "a=b", ""]


def test_other_contexts_than_the_apis_are_read_by_their_attributes(monkeypatch):
    wanted = one(Light(parent=CONTEXT))
    monkeypatch.setattr(under_test, "_TUPLE", None)
    assert one(Light(parent=CONTEXT)) == wanted


def test_the_apis_context_is_still_the_tuple_that_is_taken_apart():
    assert under_test._TUPLE is SpanContext


def test_the_memory_of_names_is_bounded():
    form = ProtobufForm()
    for number in range(NAMES_LIMIT + 1):
        assert one(Light(name=f"name {number}"), form).name == f"name {number}"
    assert len(form._names) == 1
    assert form.values.emptied == 1
    one(Light(name="n" * 10_000), form)
    assert len(form._names) == 1


def test_kinds_that_are_made_for_each_span_dont_fill_the_memory():
    form = ProtobufForm()
    for number in range(1_000, 2_000):
        with pytest.raises(Exception, match="ubyte"):
            form.span(Light(kind=number))
    assert len(form._kinds) <= under_test.IDENTITIES_LIMIT


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
