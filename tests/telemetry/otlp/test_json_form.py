"""Against Protocol Buffers' own reader of JSON, with OTLP's ids translated for it."""

import base64
import json
import math

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.trace import SpanContext, StatusCode

from seawall.telemetry.otlp import Encoder, JsonForm, spans
from seawall.telemetry.otlp.encode import JOIN_SPANS
from seawall.telemetry.otlp.values import VALUES_LIMIT
from tests.telemetry.otlp.samples import CONTEXT, Described, Light, Told, light_spans, sdk_spans


def written(*batch, **how):
    requests = [request for request in Encoder(JsonForm(), **how).steps(batch) if request is not None]
    return json.loads(b"".join(b"".join(request.pieces) for request in requests))


def only(span):
    return written(span)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]


def read(document):
    """The library wants ids in base64, where OTLP has hexadecimal."""

    def translated(node):
        if isinstance(node, list):
            return [translated(each) for each in node]
        if isinstance(node, dict):
            ids = {"traceId", "spanId", "parentSpanId"}
            return {
                key: base64.b64encode(bytes.fromhex(value)).decode() if key in ids else translated(value)
                for key, value in node.items()
            }
        return node

    return json_format.ParseDict(translated(document), ExportTraceServiceRequest())


@settings(max_examples=25)
@given(st.lists(st.one_of(light_spans, sdk_spans), min_size=1, max_size=3))
def test_it_says_the_same_as_protocol_buffers(batch):
    assert read(written(*batch)) == ExportTraceServiceRequest.FromString(b"".join(spans(batch)))


def test_ids_are_hexadecimal_and_large_numbers_are_texts():
    found = only(
        Light(
            context=SpanContext(0xAB, 0xCD, False), parent=SpanContext(1, 0xEF, True), attributes={"n": 2**62}
        )
    )
    assert (found["traceId"], found["spanId"], found["parentSpanId"]) == (
        "0" * 30 + "ab",
        "0" * 14 + "cd",
        "0" * 14 + "ef",
    )
    assert found["attributes"] == [{"key": "n", "value": {"intValue": str(2**62)}}]
    assert found["flags"] == 0x300


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (0.5, 0.5)]
)
def test_numbers_that_json_doesnt_know(value, text):
    assert only(Light(attributes={"n": value}))["attributes"][0]["value"] == {"doubleValue": text}


def test_a_value_that_is_nothing():
    assert only(Light(attributes={"n": None, "m": [None]}))["attributes"] == [
        {"key": "n", "value": {}},
        {"key": "m", "value": {"arrayValue": {"values": [{}]}}},
    ]


def test_many_spans_are_separated_by_commas():
    count = 2 * JOIN_SPANS + 1
    (resource,) = written(*[Light() for _ in range(count)])["resourceSpans"]
    assert len(resource["scopeSpans"][0]["spans"]) == count


def test_a_span_may_tell_its_lineage():
    found = only(Told())
    assert (found["traceId"][-2:], found["spanId"][-2:], found["parentSpanId"][-2:]) == ("0a", "0b", "0c")
    assert found["flags"] == 0x301


def test_the_same_values_are_left_out_as_with_protocol_buffers():
    loop = []
    loop.append(loop)
    found = only(
        Light(attributes={"a": 1, "b": 2**63, "c": object(), "": 1, 5: 1, "d": loop}, dropped_attributes=2)
    )
    assert found["attributes"] == [{"key": "a", "value": {"intValue": "1"}}]
    assert found["droppedAttributesCount"] == 7


def test_a_span_has_room_for_so_many_values():
    found = only(
        Light(attributes={f"k{n}": n for n in range(VALUES_LIMIT + 5)}, events=[("e", 1, None)], links=[])
    )
    assert len(found["attributes"]) == VALUES_LIMIT
    assert (found["droppedAttributesCount"], found["droppedEventsCount"]) == (5, 1)
    assert only(Light(attributes={"long": [0] * VALUES_LIMIT}))["droppedAttributesCount"] == 1


def test_dropped_attributes_are_told_even_if_there_are_no_others():
    class Happened:
        name, timestamp, attributes, dropped_attributes = "e", 5, None, 3

    class Linked:
        context, attributes, dropped_attributes = CONTEXT, None, 4

    found = only(Light(events=[Happened()], links=[Linked()], dropped_attributes=1, dropped_links=2))
    assert found["links"][0]["droppedAttributesCount"] == 4
    assert found["events"] == [{"name": "e", "timeUnixNano": "5", "droppedAttributesCount": 3}]
    assert (found["droppedAttributesCount"], found["droppedLinksCount"]) == (1, 2)


def test_half_a_surrogate_pair_doesnt_break_the_request():
    found = only(
        Light(
            name="a\ud800", attributes={"k": "v\udfff"}, status=StatusCode.ERROR, status_description="\ud800"
        )
    )
    assert (found["name"], found["attributes"][0]["value"]) == ("a?", {"stringValue": "v?"})
    assert found["status"] == {"code": 2, "message": "?"}


def test_no_status_is_none():
    assert "status" not in only(Light(status=None))


def test_groups_are_separate():
    batch = [
        Light(resource=Described(schema_url=f"r{r}"), instrumentation_scope=Described(f"s{s}"))
        for r in (0, 1)
        for s in (0, 1)
    ]
    found = written(*batch, *batch)["resourceSpans"]
    assert [[len(scope["spans"]) for scope in resource["scopeSpans"]] for resource in found] == [
        [2, 2],
        [2, 2],
    ]
    assert [resource["schemaUrl"] for resource in found] == ["r0", "r1"]
    assert read(written(*batch))


def test_spans_without_resource_and_scope():
    found = written(Light(resource=None, instrumentation_scope=None))["resourceSpans"][0]
    assert (found["resource"], found["scopeSpans"][0]["scope"]) == ({}, {})
