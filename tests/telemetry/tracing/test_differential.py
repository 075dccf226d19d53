"""The same operations on a span of ours and on one of the SDK's give the same span."""

import json
import logging

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceState

from seawall.telemetry.tracing.settings import Limits, Sampling
from tests.telemetry.tracing.world import World, remote, under

RESOURCE = Resource({"service.name": "differential"})
CONTEXTS = st.sampled_from(
    [
        SpanContext(5, 6, True),
        SpanContext(0, 0, False),
        SpanContext(0, 0, False, trace_state=TraceState([("k", "v")])),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc", max_size=6)
VALUES = (
    SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text("xy", max_size=2), SCALARS, max_size=2)
)
KEYS = st.sampled_from(["a", "b", "c", "d", "e", ""])
ATTRIBUTES = st.none() | st.dictionaries(KEYS, VALUES, max_size=5)
TIMES = st.integers(1, 10**6)
CODES = st.sampled_from(list(StatusCode))
TEXTS = st.none() | st.text("xyz", max_size=3)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as caught:
        return caught


ERRORS = st.sampled_from(
    [raised(ValueError("no")), raised(KeyError()), raised(json.JSONDecodeError("x", "y", 0))]
)

OPERATIONS = st.one_of(
    st.tuples(st.just("set_attribute"), st.tuples(KEYS, VALUES)),
    st.tuples(st.just("set_attributes"), st.tuples(st.dictionaries(KEYS, VALUES, max_size=4))),
    st.tuples(st.just("add_event"), st.tuples(st.sampled_from(["e1", "e2"]), ATTRIBUTES, TIMES)),
    st.tuples(st.just("add_link"), st.tuples(CONTEXTS, ATTRIBUTES)),
    st.tuples(st.just("set_status"), st.tuples(CODES, TEXTS)),
    st.tuples(st.just("set_status"), st.tuples(st.builds(Status, CODES, TEXTS))),
    st.tuples(st.just("record_exception"), st.tuples(ERRORS, ATTRIBUTES, TIMES, st.booleans())),
    st.tuples(st.just("update_name"), st.tuples(st.sampled_from(["x", "y"]))),
    st.tuples(st.just("end"), st.tuples(TIMES)),
)
LIMITS = st.fixed_dictionaries(
    {
        "attributes": st.integers(0, 4),
        "events": st.integers(0, 3),
        "links": st.integers(0, 2),
        "event_attributes": st.integers(0, 5),
        "link_attributes": st.integers(0, 2),
        "value_length": st.sampled_from([0, 1, 2, 3, 4, 1_000]),
    }
)


@pytest.fixture(autouse=True, scope="module")
def quiet_sdk():
    """The SDK logs each thing that it drops; that is its way."""
    logger = logging.getLogger("opentelemetry")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def pair(limits: dict) -> tuple:
    theirs = TracerProvider(
        resource=RESOURCE,
        shutdown_on_exit=False,
        span_limits=SpanLimits(
            max_span_attributes=limits["attributes"],
            max_event_attributes=limits["event_attributes"],
            max_link_attributes=limits["link_attributes"],
            max_events=limits["events"],
            max_links=limits["links"],
            max_attribute_length=limits["value_length"],
        ),
    ).get_tracer("tests", "1.2")
    ours = World(sampling=Sampling(ratio=1.0), limits=Limits(**limits), resource=RESOURCE).tracer
    return ours, theirs


def picture(span) -> dict:
    return {
        "name": span.name,
        "kind": span.kind,
        "recording": span.is_recording(),
        "times": (span.start_time, span.end_time),
        "status": (span.status.status_code, span.status.description or None),
        "attributes": list(span.attributes.items()),
        "events": [
            (event.name, event.timestamp, list(event.attributes.items()), event.dropped_attributes)
            for event in span.events
        ],
        "links": [
            (link.context, list(link.attributes.items()), link.dropped_attributes) for link in span.links
        ],
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "parent": span.parent,
        "trace": (span.context.trace_id, span.context.trace_state, span.context.is_remote),
        "flags": span.context.trace_flags,
    }


def described(span) -> dict:
    """Its JSON, without its own id, which is drawn."""
    found = json.loads(span.to_json())
    assert len(found["context"].pop("span_id")) == 18
    return found


@given(
    limits=LIMITS,
    attributes=ATTRIBUTES,
    links=st.none() | st.lists(st.tuples(CONTEXTS, ATTRIBUTES), max_size=3),
    kind=st.sampled_from(list(SpanKind)),
    operations=st.lists(OPERATIONS, max_size=12),
)
@settings(max_examples=120)
def test_any_operations_give_the_same_span(limits, attributes, links, kind, operations):
    parent = remote(0xFEED, flags=3, state=TraceState([("a", "b")]))
    spans = []
    for tracer in pair(limits):
        span = tracer.start_span(
            "name",
            under(parent),
            kind,
            attributes,
            links and [Link(*link) for link in links],
            start_time=1,
        )
        for name, arguments in operations:
            getattr(span, name)(*arguments)
        spans.append(span)
    ours, theirs = spans
    assert picture(ours) == picture(theirs)
    assert described(ours) == described(theirs)


@given(attributes=ATTRIBUTES, operations=st.lists(OPERATIONS, max_size=8))
@settings(max_examples=60)
def test_the_stock_exporter_encodes_both_alike(attributes, operations):
    limits = {
        "attributes": 4,
        "events": 3,
        "links": 2,
        "event_attributes": 4,
        "link_attributes": 2,
        "value_length": 4,
    }
    encoded = []
    for tracer in pair(limits):
        span = tracer.start_span("name", attributes=attributes, start_time=1)
        for name, arguments in operations:
            getattr(span, name)(*arguments)
        span.end(9)
        [by_resource] = encode_spans([span]).resource_spans
        [by_scope] = by_resource.scope_spans
        [message] = by_scope.spans
        assert len(message.trace_id) == 16
        assert len(message.span_id) == 8
        message.trace_id = message.span_id = b""
        encoded.append((by_resource.resource, by_scope.scope, message))
    assert encoded[0] == encoded[1]


def test_leaving_a_block_by_an_exception_gives_the_same_span():
    spans = []
    for tracer in pair(
        {
            "attributes": 9,
            "events": 9,
            "links": 9,
            "event_attributes": 9,
            "link_attributes": 9,
            "value_length": 1_000,
        }
    ):
        for start in (tracer.start_span, tracer.start_as_current_span):
            with pytest.raises(ValueError, match="no"), start("name", start_time=1) as span:
                raise ValueError("no")
            spans.append(span)
    for ours, theirs in (spans[0], spans[2]), (spans[1], spans[3]):
        [our_event], [their_event] = ours.events, theirs.events
        kept = ("exception.type", "exception.message", "exception.escaped")
        assert [our_event.attributes[key] for key in kept] == [their_event.attributes[key] for key in kept]
        assert (ours.status_code, ours.status_description) == (
            theirs.status.status_code,
            theirs.status.description,
        )
