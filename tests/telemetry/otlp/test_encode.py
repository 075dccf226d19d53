import gc

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from seawall.telemetry.otlp import Encoder, ProtobufForm, spans
from seawall.telemetry.otlp.encode import DESCRIBED_LIMIT, JOIN_SPANS, STEP_SPANS
from tests.telemetry.otlp.samples import Described, Light, light


def requests_of(encoder, batch):
    return [request for request in encoder.steps(batch) if request is not None]


def read(request):
    return ExportTraceServiceRequest.FromString(b"".join(request.pieces))


def ids(*messages):
    return [
        int.from_bytes(span.span_id)
        for message in messages
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_no_spans_no_request():
    assert list(Encoder().steps([])) == []
    assert list(spans([])) == []


def test_a_step_has_a_bounded_number_of_spans():
    steps = list(Encoder().steps(light(3 * STEP_SPANS)))
    assert [step is None for step in steps] == [True] * 3 + [False]
    (request,) = requests_of(Encoder(step_spans=1), light(5))
    assert (request.spans, request.size) == (5, sum(map(len, request.pieces)))


def test_a_step_has_a_bounded_number_of_bytes():
    large = light(3, attributes={"text": "x" * ProtobufForm.step_bytes})
    assert [step is None for step in Encoder().steps(large)] == [True, True, True, False]


def test_the_steps_of_the_function_are_empty_pieces():
    pieces = list(spans(light(STEP_SPANS + 1)))
    assert pieces[0] == b""
    assert len(ids(ExportTraceServiceRequest.FromString(b"".join(pieces)))) == STEP_SPANS + 1


def test_spans_are_encoded_step_by_step():
    """Not all at once in the first step, which would make the slices a pretence."""
    seen = []

    def watched():
        for span in light(STEP_SPANS * 2):
            seen.append(span)
            yield span

    steps = Encoder().steps(watched())
    next(steps)
    assert len(seen) == STEP_SPANS


def test_a_request_ends_before_it_is_too_long():
    batch = light(50)
    encoder = Encoder(request_bytes=1_500)
    requests = requests_of(encoder, batch)
    assert len(requests) > 2
    assert all(request.size <= 1_500 + 20 for request in requests)  # and the lengths of what encloses them
    assert ids(*map(read, requests)) == [span.context.span_id for span in batch]


def test_a_span_that_is_too_long_alone_is_left_out():
    encoder = Encoder(request_bytes=1_500)
    batch = light(3)
    batch[1].attributes = {"text": "x" * 1_600}
    (request,) = requests_of(encoder, batch)
    assert (request.spans, encoder.too_large, encoder.unencodable) == (2, 1, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"context": None},
        {"name": None},
        {"start_time": -1},
        {"end_time": 2**64},
        {"kind": "server"},
        {"events": [1]},
        {"events": [("e", "now", None)]},
        {"links": [None]},
        {"attributes": 5},
        {"status": "bad"},
    ],
)
def test_one_bad_span_doesnt_cost_the_batch(change):
    encoder = Encoder()
    good = light(2)
    (request,) = requests_of(encoder, [good[0], Light(**change), good[1]])
    assert ids(read(request)) == [span.context.span_id for span in good]
    assert encoder.unencodable == 1


def test_what_is_no_span_at_all_is_left_out():
    encoder = Encoder()
    assert requests_of(encoder, [None, "span", object()]) == []
    assert encoder.unencodable == 3


def test_spans_are_grouped_by_resource_and_scope():
    resources = [Described(attributes={"service.name": name}) for name in ("a", "b")]
    scopes = [Described(name) for name in ("x", "y")]
    batch = [
        Light(resource=resource, instrumentation_scope=scope) for resource in resources for scope in scopes
    ]
    (request,) = requests_of(Encoder(), batch * 3)
    message = read(request)
    assert [[len(scope.spans) for scope in resource.scope_spans] for resource in message.resource_spans] == [
        [3, 3]
    ] * 2
    assert [scope.scope.name for scope in message.resource_spans[1].scope_spans] == ["x", "y"]


def test_resources_that_say_the_same_are_one_group():
    batch = [
        Light(resource=Described(attributes={"a": 1}), instrumentation_scope=Described("x")) for _ in range(3)
    ]
    (request,) = requests_of(Encoder(), batch)
    (resource,) = read(request).resource_spans
    (scope,) = resource.scope_spans
    assert len(scope.spans) == 3


def test_a_resource_made_anew_at_every_look_is_not_taken_for_another():
    """An object's id says nothing once the object is gone."""

    class Fleeting:
        def __init__(self, number):
            self.number = number

        @property
        def resource(self):
            return Described(attributes={"number": self.number})

        def __getattr__(self, name):
            return getattr(Light(), name)

    encoder = Encoder()
    (request,) = requests_of(encoder, [Fleeting(number) for number in range(50)])
    gc.collect()
    found = [resource.resource.attributes[0].value.int_value for resource in read(request).resource_spans]
    assert found == list(range(50))


def test_the_default_resource_is_for_spans_without_one():
    default = Described(attributes={"service.name": "default"})
    (request,) = requests_of(Encoder(resource=default), [Light(resource=None), Light()])
    names = [each.resource.attributes[0].value.string_value for each in read(request).resource_spans]
    assert names == ["default", "shop"]
    message = ExportTraceServiceRequest.FromString(b"".join(spans([Light(resource=None)], default)))
    assert message.resource_spans[0].resource.attributes[0].value.string_value == "default"


def test_a_broken_resource_or_scope_costs_only_itself():
    class Broken:
        @property
        def attributes(self):
            raise RuntimeError

        name = attributes

    (request,) = requests_of(Encoder(), [Light(resource=Broken(), instrumentation_scope=Broken())])
    assert request.spans == 1
    assert read(request).resource_spans[0].HasField("resource")


def test_the_memory_of_resources_is_bounded():
    encoder = Encoder()
    batch = [Light(resource=Described(attributes={"n": number})) for number in range(DESCRIBED_LIMIT + 10)]
    (request,) = requests_of(encoder, batch)
    assert len(read(request).resource_spans) == DESCRIBED_LIMIT + 10
    assert len(encoder._described) <= DESCRIBED_LIMIT


def test_spans_are_joined_in_time_so_that_the_end_is_no_long_step():
    count = 5 * JOIN_SPANS + 3
    (request,) = requests_of(Encoder(), light(count))
    assert len(request.pieces) < 20
    assert len(ids(read(request))) == count


def test_one_encoder_for_many_batches():
    encoder = Encoder()
    first, second = (b"".join(spans(light(3), encoder=encoder)) for _ in range(2))
    assert first == second == b"".join(spans(light(3)))
