"""Carriers: each protocol's own place, its own case, and what comes more than once."""

import json
from collections.abc import Mapping

import httpx
import pytest
from opentelemetry.baggage import get_all
from opentelemetry.propagators.textmap import Getter, Setter
from opentelemetry.trace import TraceState
from starlette.datastructures import Headers, MutableHeaders

from seawall.telemetry.propagation.carriers import (
    ENVELOPE_GETTER,
    ENVELOPE_SETTER,
    GRPC_GETTER,
    GRPC_SETTER,
    HTTP_GETTER,
    HTTP_SETTER,
    KAFKA_GETTER,
    KAFKA_SETTER,
    MQTT_GETTER,
    MQTT_SETTER,
)
from seawall.telemetry.propagation.propagator import PropagationStatistics, Propagator
from tests.telemetry.propagation.contexts import PARENT, SPAN_ID, TRACE_ID, context_with, remote

CONTEXT = context_with(state=TraceState([("a", "1"), ("b", "2")]), baggage={"user": "Am\u00e9lie", "n": "1"})
TEXTS = {"traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "user=Am%C3%A9lie,n=1"}


def in_bytes(texts: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in texts.items()]


WIRED = [
    ("http dict", HTTP_GETTER, HTTP_SETTER, {"Host": "x"}, {"Host": "x", **TEXTS}),
    ("http pairs", HTTP_GETTER, HTTP_SETTER, [], list(TEXTS.items())),
    ("http text pairs", HTTP_GETTER, HTTP_SETTER, [("A", "b")], [("A", "b"), *TEXTS.items()]),
    ("http bytes pairs", HTTP_GETTER, HTTP_SETTER, [(b"A", b"b")], [(b"A", b"b"), *in_bytes(TEXTS)]),
    ("mqtt 5", MQTT_GETTER, MQTT_SETTER, [("a", "b"), ("a", "c")], [("a", "b"), ("a", "c"), *TEXTS.items()]),
    (
        "mqtt 3.1.1",
        ENVELOPE_GETTER,
        ENVELOPE_SETTER,
        {"jsonrpc": "2.0", "method": "createUser", "params": [1], "id": 1},
        {"jsonrpc": "2.0", "method": "createUser", "params": [1], "id": 1, "context": TEXTS},
    ),
    ("grpc", GRPC_GETTER, GRPC_SETTER, [("key-bin", b"\0\xff")], [("key-bin", b"\0\xff"), *TEXTS.items()]),
    (
        "kafka",
        KAFKA_GETTER,
        KAFKA_SETTER,
        [("h", b"v")],
        [("h", b"v"), *((name, value.encode()) for name, value in TEXTS.items())],
    ),
]


@pytest.mark.parametrize(
    ("getter", "setter", "carrier", "wired"), [row[1:] for row in WIRED], ids=[row[0] for row in WIRED]
)
def test_what_is_put_is_where_the_protocol_has_it_and_found_again(
    getter: Getter[object], setter: Setter[object], carrier: object, wired: object
) -> None:
    propagator = Propagator()
    carrier = json.loads(json.dumps(carrier)) if isinstance(carrier, dict) else list(carrier)
    for _ in range(2):  # the second time it is there already, and replaced
        propagator.inject(carrier, CONTEXT, setter)
        assert carrier == wired
    context = propagator.extract(carrier, getter=getter)
    assert remote(context) == remote(propagator.extract(TEXTS))
    assert (remote(context).trace_id, remote(context).span_id) == (TRACE_ID, SPAN_ID)
    assert get_all(context) == get_all(CONTEXT)
    assert propagator.statistics() == PropagationStatistics(0, 0, 0)
    assert set(TEXTS) <= set(getter.keys(carrier))


@pytest.mark.parametrize("getter", [row[1] for row in WIRED], ids=[row[0] for row in WIRED])
def test_an_empty_carrier_has_nothing(getter: Getter[object]) -> None:
    assert getter.get({}, "traceparent") is None
    assert getter.keys({}) == []


@pytest.mark.parametrize("getter", [HTTP_GETTER, MQTT_GETTER, GRPC_GETTER, KAFKA_GETTER])
def test_none_is_an_empty_carrier_where_clients_give_none(getter: Getter[object]) -> None:
    assert getter.get(None, "traceparent") is None
    assert getter.keys(None) == []


REPEATED = [("TraceState", "a=1"), ("x", "y"), ("TRACESTATE", "b=2")]


@pytest.mark.parametrize(
    "headers",
    [
        REPEATED,
        tuple(REPEATED),
        iter(REPEATED),
        [(name.encode(), value.encode()) for name, value in REPEATED],
        Headers(raw=[(name.lower().encode(), value.encode()) for name, value in REPEATED]),
        {"TraceState": "a=1", "x": "y", "tracestate": "b=2"},
        {"Tracestate": ["a=1", b"b=2", 3]},
    ],
)
def test_repeated_headers_come_in_their_order_whatever_their_case(headers: object) -> None:
    assert HTTP_GETTER.get(headers, "tracestate") == ["a=1", "b=2"]


def test_header_classes_of_clients_and_frameworks() -> None:
    joined = httpx.Headers(REPEATED)
    assert HTTP_GETTER.get(joined, "tracestate") == ["a=1, b=2"]
    for carrier in (httpx.Headers({"TraceParent": "old"}), MutableHeaders({"TraceParent": "old"})):
        HTTP_SETTER.set(carrier, "traceparent", PARENT)
        assert HTTP_GETTER.get(carrier, "traceparent") == [PARENT]


def test_headers_that_were_written_otherwise_are_replaced() -> None:
    carrier = {"TraceParent": "old", "TRACEPARENT": "older", "Trace-Parent": "another"}
    HTTP_SETTER.set(carrier, "traceparent", PARENT)
    assert carrier == {"Trace-Parent": "another", "traceparent": PARENT}
    headers = [(b"TraceParent", b"old"), (b"trace-parent", b"another")]
    HTTP_SETTER.set(headers, "traceparent", PARENT)
    assert headers == [(b"trace-parent", b"another"), (b"traceparent", PARENT.encode())]


def test_names_of_messages_have_one_case() -> None:
    for getter in (MQTT_GETTER, GRPC_GETTER, KAFKA_GETTER):
        assert getter.get([("TraceParent", PARENT)], "traceparent") is None
        assert getter.get([("traceparent", PARENT), ("traceparent", "x")], "traceparent") == [PARENT, "x"]


def test_values_that_are_no_text_are_absent() -> None:
    assert KAFKA_GETTER.get([("traceparent", None)], "traceparent") is None
    assert KAFKA_GETTER.get([("traceparent", bytearray(b"x"))], "traceparent") == ["x"]
    assert KAFKA_GETTER.get([("traceparent", b"\xff")], "traceparent") == ["\xff"]
    assert HTTP_GETTER.keys([(1, "a"), (b"B", "c")]) == ["b"]


@pytest.mark.parametrize("context", [None, 1, "traceparent", ["traceparent"], {"traceparent": 1}, {1: 2}])
def test_an_envelope_with_something_else_in_that_place(context: object) -> None:
    message = {"jsonrpc": "2.0", "context": context}
    assert ENVELOPE_GETTER.get(message, "traceparent") is None
    assert set(ENVELOPE_GETTER.keys(message)) <= {"traceparent"}
    ENVELOPE_SETTER.set(message, "traceparent", PARENT)
    assert ENVELOPE_GETTER.get(message, "traceparent") == [PARENT]


def test_an_envelope_keeps_what_else_is_in_that_place_and_is_json() -> None:
    held = {"tenant": "a"}
    message = {"jsonrpc": "2.0", "result": 1, "id": 1, "context": held}
    ENVELOPE_SETTER.set(message, "traceparent", PARENT)
    assert json.loads(json.dumps(message))["context"] == {"tenant": "a", "traceparent": PARENT}
    assert held == {"tenant": "a"}


def test_a_server_that_joins_repeated_parents_has_none() -> None:
    propagator = Propagator()
    propagator.extract({"Traceparent": f"{PARENT},{PARENT}"}, getter=HTTP_GETTER)
    assert propagator.statistics().rejected == 1
