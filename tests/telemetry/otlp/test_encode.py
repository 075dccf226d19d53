import gc
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from seawall.telemetry.otlp.encode import ORIGINS_LIMIT, SLICE_BYTES, SLICE_SPANS, Encoder
from tests.telemetry.otlp.reading import decoded, requests_of, spans_in
from tests.telemetry.otlp.samples import Described, Happened, Light, light


def steps_of(batch):
    return list(Encoder(pytest.fail, request_bytes=1 << 20).steps(batch))


def ids(*requests):
    return [
        int.from_bytes(span.span_id)
        for request in requests
        for span in spans_in(ExportTraceServiceRequest.FromString(request.body))
    ]


def test_no_spans_no_request():
    assert steps_of([]) == []


def test_a_slice_has_a_bounded_number_of_spans():
    assert [step is None for step in steps_of(light(3 * SLICE_SPANS))] == [True] * 3 + [False]


def test_a_slice_has_a_bounded_number_of_bytes():
    large = light(3, attributes={"text": "x" * SLICE_BYTES})
    assert [step is None for step in steps_of(large)] == [True, True, True, False]


def test_spans_that_are_left_out_are_work_too():
    steps = list(Encoder(lambda _: None, request_bytes=1_024).steps([None] * 3 * SLICE_SPANS))
    assert steps == [None] * 3


def test_spans_are_encoded_slice_by_slice():
    """Not all at once in the first step, which would make the slices a pretence."""
    seen = []

    def watched():
        for span in light(SLICE_SPANS * 2):
            seen.append(span)
            yield span

    next(Encoder(pytest.fail, request_bytes=1 << 20).steps(watched()))
    assert len(seen) == SLICE_SPANS


def test_a_request_ends_before_it_is_too_long():
    batch = light(50)
    requests = requests_of(batch, request_bytes=1_500)
    assert len(requests) > 2
    assert all(
        len(request.body) <= 1_500 + 20 for request in requests
    )  # and the lengths of what encloses them
    assert ids(*requests) == [span.span_id for span in batch]
    assert [request.spans for request in requests] == [len(ids(request)) for request in requests]


def test_a_span_that_is_too_long_alone_is_left_out():
    left_out = []
    batch = light(3)
    batch[1].attributes = {"text": "x" * 1_600}
    (request,) = requests_of(batch, drop=left_out.append, request_bytes=1_500)
    assert (request.spans, left_out) == (2, ["too_large"])


@pytest.mark.parametrize(
    "change",
    [
        {"trace_id": None},
        {"span_id": 2**64},
        {"name": 5},
        {"start_time": -1},
        {"end_time": 2**64},
        {"kind": "server"},
        {"events": [1]},
        {"events": [Happened("e", "now")]},
        {"links": [None]},
        {"attributes": 5},
        {"status_code": "bad"},
        {"resource": 5},
        {"instrumentation_scope": 5},
    ],
    ids=str,
)
def test_one_bad_span_doesnt_cost_the_batch(change):
    left_out = []
    good = light(2)
    (request,) = requests_of([good[0], Light(**change), good[1]], drop=left_out.append)
    assert ids(request) == [span.span_id for span in good]
    assert left_out == ["unencodable"]


def test_what_is_no_span_at_all_is_left_out():
    left_out = Counter()
    assert requests_of([None, "span", object()], drop=lambda reason: left_out.update([reason])) == []
    assert left_out == {"unencodable": 3}


def test_spans_are_grouped_by_resource_and_scope():
    resources = [Described(attributes={"service.name": name}) for name in ("a", "b")]
    scopes = [Described(name) for name in ("x", "y")]
    batch = [
        Light(resource=resource, instrumentation_scope=scope) for resource in resources for scope in scopes
    ]
    message = decoded(*batch * 3)
    assert [[len(scope.spans) for scope in resource.scope_spans] for resource in message.resource_spans] == [
        [3, 3]
    ] * 2
    assert [scope.scope.name for scope in message.resource_spans[1].scope_spans] == ["x", "y"]


def test_resources_that_say_the_same_are_one_group():
    batch = [
        Light(resource=Described(attributes={"a": 1}), instrumentation_scope=Described("x")) for _ in range(3)
    ]
    (resource,) = decoded(*batch).resource_spans
    (scope,) = resource.scope_spans
    assert len(scope.spans) == 3


def test_a_resource_made_anew_at_every_look_is_not_taken_for_another():
    """An object's id says nothing once the object is gone."""

    class Fleeting(Light):
        @property
        def resource(self):
            return Described(attributes={"number": self.span_id})

        @resource.setter
        def resource(self, _):
            gc.collect()

    read = decoded(*[Fleeting(span_id=number) for number in range(1, 10)]).resource_spans
    assert [each.resource.attributes[0].value.int_value for each in read] == list(range(1, 10))


def test_the_memory_of_origins_is_bounded():
    encoder = Encoder(pytest.fail, request_bytes=1 << 20)
    batch = [Light(resource=Described(attributes={"n": number})) for number in range(ORIGINS_LIMIT + 10)]
    *_, request = encoder.steps(batch)
    assert len(ExportTraceServiceRequest.FromString(request.body).resource_spans) == ORIGINS_LIMIT + 10
    assert len(encoder._origins) <= ORIGINS_LIMIT


def test_one_encoder_for_many_batches():
    encoder = Encoder(pytest.fail, request_bytes=1 << 20)
    first, second = (list(encoder.steps(light(3))) for _ in range(2))
    assert first == second == steps_of(light(3))
