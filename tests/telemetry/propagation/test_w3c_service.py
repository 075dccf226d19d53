"""W3C's own cases through a service that reads its request, makes a span of its own, and sends requests."""

import itertools

import pytest
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from seawall.telemetry.propagation.carriers import HTTP_GETTER, HTTP_SETTER
from seawall.telemetry.propagation.propagator import Propagator
from seawall.wire.tracecontext.traceparent import parse_traceparent
from seawall.wire.tracecontext.tracestate import parse_tracestate
from tests.telemetry.propagation.contexts import remote
from tests.wire.tracecontext.w3c_cases import PARENTS, REPEATED, SPAN, STATES, TRACE, Case

CASES = (*PARENTS, *STATES, *REPEATED)
SERVERS = ("text", "bytes")


def received(case: Case, server: str) -> object:
    """The headers as a server hands them to its application."""
    if server == "text":
        return list(case.sent)
    return [(name.lower().encode(), value.encode()) for name, value in case.sent]


class Service:
    """Makes a child span per request it sends, with ids that nobody else has."""

    def __init__(self) -> None:
        self.propagator = Propagator()
        self.ids = itertools.count(0xA000)

    def answer(self, case: Case, server: str, requests: int = 1) -> list[list[tuple[str, str]]]:
        carrier = received(case, server)
        parent = remote(self.propagator.extract(carrier, Context(), HTTP_GETTER))
        trace_id = parent.trace_id if parent.is_valid else next(self.ids)
        sent = []
        for _ in range(requests):
            flags = parent.trace_flags if parent.is_valid else TraceFlags(3)
            child = SpanContext(trace_id, next(self.ids), False, flags, parent.trace_state)
            headers: list[tuple[str, str]] = []
            self.propagator.inject(
                headers, set_span_in_context(NonRecordingSpan(child), Context()), HTTP_SETTER
            )
            sent.append(headers)
        return sent


def parent_of(headers: list[tuple[str, str]]) -> tuple[int, int, int]:
    values = [value for name, value in headers if name == "traceparent"]
    assert len(values) == 1
    assert values[0].startswith("00-")
    read = parse_traceparent(values[0])
    assert read is not None
    return read


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_service(case: Case, server: str) -> None:
    service = Service()
    (headers,) = service.answer(case, server)
    read = parent_of(headers)
    assert (read[0] == int(TRACE, 16)) == case.continued
    assert read[1] != int(SPAN, 16)
    members = parse_tracestate(value for name, value in headers if name == "tracestate")
    assert tuple(members.items()) == case.state
    if case.continued:
        assert read[2] == case.flags
    assert service.propagator.statistics().failures == 0


@pytest.mark.parametrize("case", REPEATED, ids=lambda case: case.name)
def test_service_that_sends_several_requests(case: Case) -> None:
    parents = [parent_of(headers) for headers in Service().answer(case, "text", 3)]
    assert len({read[1] for read in parents}) == 3
    assert len({read[0] for read in parents}) == 1
    assert (parents[0][0] == int(TRACE, 16)) == case.continued
